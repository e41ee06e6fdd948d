"""The enqueueing side of a soak: a thread that spreads the jobs over the time and keeps what was acknowledged."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from jobkit.errors import StoreFull, StoreUnavailable
from jobkit.soak.work import drafts_of

if TYPE_CHECKING:
    from jobkit.factory import JobKit
    from jobkit.soak.plan import Plan

_EVERY: Final = 0.1
"""Seconds between two enqueues."""
_AGAIN: Final = 0.5
"""Seconds until an enqueue without an answer is repeated."""


class Feeder:
    """Enqueues in step with the clock. An enqueue without an answer is repeated with the same ids until it has one."""

    def __init__(self, kit: JobKit, plan: Plan, run: str) -> None:
        self._kit = kit
        self._seconds = plan.seconds
        self._drafts = drafts_of(run, plan.jobs, plan.job_seconds)
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="jobkit-soak-feeder", daemon=True)
        self._error: BaseException | None = None
        self.acknowledged: list[str] = []

    def start(self) -> None:
        """Begin to enqueue."""
        self._thread.start()

    def finish(self) -> None:
        """Enqueue the rest at once, and wait for it. Raises what an enqueue raised."""
        self._hurry.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Enqueue nothing more."""
        self._stopping.set()
        self._hurry.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _feed(self) -> None:
        try:
            began = time.monotonic()
            while not self._stopping.is_set() and len(self.acknowledged) < len(self._drafts):
                share = 1.0 if self._hurry.is_set() else min(1.0, (time.monotonic() - began) / self._seconds)
                self._enqueue(max(1, round(share * len(self._drafts))))
                self._hurry.wait(_EVERY)
        except BaseException as error:  # noqa: BLE001 - finish() raises it in the thread that waits
            self._error = error

    def _enqueue(self, up_to: int) -> None:
        due = self._drafts[len(self.acknowledged) : up_to]
        while due and not self._stopping.is_set():
            try:
                handles = self._kit.enqueue_many(due)
            except (StoreUnavailable, StoreFull):
                self._stopping.wait(_AGAIN)
            else:
                self.acknowledged += [handle.id for handle in handles]
                return
