"""The sweep, done by every worker: promote what fell due, rescue what lost its worker, trim what is too old."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from jobkit.worker.parts import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.store.sweeps import SweepReport

log = logging.getLogger("jobkit.worker")

EVERY: Final = 5.0
"""Seconds between two sweeps, at most."""
PATIENCE: Final = 1.0
"""Seconds until the next try while the server is away: after an outage jobs wait to be rescued."""

SHARE: Final = 0.3
"""A worker leaves it at another's sweep that began less than this share of the time between two ago: any number of
workers sweep three times as often as one at most, and two sweeps are never 1.3 times that time apart."""


class Sweeper(Ticker):
    """Sweeps every `every` seconds, and at once again while there is more to move."""

    def __init__(
        self, sweep: Callable[..., SweepReport], *, on_crash: Callable[[str], None], every: float = EVERY
    ) -> None:
        super().__init__("sweeper", self.tick, patience=min(every, PATIENCE), on_crash=on_crash)
        self._sweep = sweep
        self._every = every
        self._unreadable: tuple[str, ...] = ()
        self._more = False

    def tick(self) -> float:
        """Sweep once; the seconds until the next time."""
        report = self._sweep(unless_within=0.0 if self._more else SHARE * self._every)
        self._more = report.more
        if report.rescued or report.poisoned:
            log.warning(
                "took jobs back from workers that are gone",
                extra={"rescued": report.rescued, "poisoned": report.poisoned},
            )
        if report.unreadable != self._unreadable:
            self._unreadable = report.unreadable
            if report.unreadable:
                log.error(
                    "cannot read the rules of these queues: nothing of theirs is trimmed",
                    extra={"queues": report.unreadable},
                )
        return 0.0 if report.more else self._every
