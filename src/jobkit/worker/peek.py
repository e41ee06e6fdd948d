"""Looking for jobs that plain RQ clients pushed. jobkit's own enqueues ring a bell; theirs do not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from jobkit.worker.parts import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY: Final = 0.04
"""Seconds between two looks of the elected worker: what a plain client's job waits for at most."""
CANDIDATE_EVERY: Final = 1.0
"""Seconds between two bids of a worker that is not elected, at least."""
BIDS: Final = 10
"""Bids a second of all workers together, once there are more of them than that."""
SELDOM: Final = 10.0
"""Seconds between two bids at most: there may be thousands of workers, or registrations of dead ones."""


class Peeker(Ticker):
    """Asks for the election once a second, less often beside many; looks 25 times a second while it is elected."""

    def __init__(self, peek: Callable[[], int], *, on_crash: Callable[[str], None]) -> None:
        super().__init__("peeker", self.tick, patience=CANDIDATE_EVERY, on_crash=on_crash)
        self._peek = peek
        self._chance = random.Random()  # noqa: S311 - spreads bids, guards nothing

    def tick(self) -> float:
        """Look once, or bid; the seconds until the next time."""
        workers = self._peek()
        if not workers:
            return EVERY
        # Not in step with the others: whoever bids next takes over from one that died.
        return min(SELDOM, max(CANDIDATE_EVERY, workers / BIDS * self._chance.uniform(0.5, 1.5)))
