"""Claims while there are free slots, and waits for work: with the finisher, all that moves jobs."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from jobkit.errors import JobkitError, StoreFull, StoreUnavailable, UnsuitableServer
from jobkit.worker.parts import Part
from jobkit.worker.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.store.channel import ClaimChannel
    from jobkit.store.records import Batch
    from jobkit.worker.dispatch import Dispatch
    from jobkit.worker.slots import Slots

log = logging.getLogger("jobkit.worker")

BLOCK: Final = 2.0
"""Seconds that a claim waits on the bells at most. Fifty idle workers claim as often as these go by."""
QUICK: Final = 0.5
"""Seconds within which a claim that brings nothing has come back too early, several times in a row."""


class Fetcher(Part):
    """Claims for the free slots, waiting on the server while there is nothing to do."""

    def __init__(
        self, channel: ClaimChannel, slots: Slots, dispatch: Dispatch, *, on_crash: Callable[[str], None]
    ) -> None:
        super().__init__("fetcher", on_crash=on_crash)
        self._channel = channel
        self._slots = slots
        self._dispatch = dispatch
        self._patience = Patience()
        self._nudged = False

    @property
    def heard(self) -> bool:
        """Whether the server answered the last claim that came back."""
        return self._patience.fresh

    def nudge(self) -> None:
        """Bring a waiting claim back: it does not listen to a queue that has a free slot by now."""
        self._nudged = True
        try:
            self._channel.interrupt()
        except JobkitError:
            log.debug("could not wake the claim; it comes back by itself")

    def _wake(self) -> None:
        self._slots.close()
        if self._thread is not None:
            self.nudge()

    def _body(self) -> None:
        wait: float | None = None
        empty = 0
        try:
            while wants := self._slots.reserve():
                if self._dispatch.keeper.dark:
                    self._slots.settle({})
                    self._stopping.wait(BLOCK)
                    continue
                asked = time.monotonic()
                batch = self._claim(wants, BLOCK if wait is None else min(BLOCK, wait))
                if batch is None:
                    self._slots.settle({})
                    return
                wait = batch.wait
                self._slots.settle(self._dispatch.hand_out(batch.claimed, asked=asked))
                self._dispatch.look()
                # A bell that rings for nothing (another worker was quicker, the queue is suspended) must not spin.
                # One that stopped at its bound among jobs that a pause holds (a wait of 0) has work left to do.
                quick = not batch.claimed and wait != 0.0 and not self._nudged and time.monotonic() - asked < QUICK
                empty, self._nudged = (empty + 1 if quick else 0), False
                if empty > 3:  # noqa: PLR2004
                    self._stopping.wait(min(QUICK, 0.01 * 2 ** (empty - 3)))
        finally:
            self._channel.close()

    def _claim(self, wants: dict[str, int], block: float) -> Batch | None:
        """Claim, as often as it takes: the slots stay reserved, because an unanswered claim may hold jobs for them."""
        while True:
            try:
                batch = self._channel.claim(wants, block=block)
            except (StoreUnavailable, StoreFull, UnsuitableServer) as error:  # a refusal may pass: rights change
                if self._patience.fresh:
                    log.warning("cannot claim; trying again", extra={"error": str(error)})
                if self._stopping.wait(self._patience.wait()):
                    return None
            else:
                if not self._patience.fresh:
                    log.info("claiming again")
                self._patience.reset()
                return batch
