"""Looking for jobs that plain RQ clients pushed. jobkit's own enqueues ring a bell; theirs do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobkit.worker.parts import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY: Final = 0.04
"""Seconds between two looks of the elected worker: what a plain client's job waits for at most."""
CANDIDATE_EVERY: Final = 1.0
"""Seconds between two bids of a worker that is not elected."""


class Peeker(Ticker):
    """Asks for the election once a second, and looks 25 times a second while it is elected."""

    def __init__(self, peek: Callable[[], bool], *, on_crash: Callable[[str], None]) -> None:
        super().__init__("peeker", self.tick, patience=CANDIDATE_EVERY, on_crash=on_crash)
        self._peek = peek

    def tick(self) -> float:
        """Look once, or bid; the seconds until the next time."""
        return EVERY if self._peek() else CANDIDATE_EVERY
