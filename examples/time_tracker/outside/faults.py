"""What goes wrong with an outside service, and when: told beforehand, so that a run can be repeated."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

OK = 200


class Faults:
    """Statuses to answer instead of the truth, request by request: `Faults([500, 429])` mends itself after two.

    `every={5: 500, 7: 429}` answers each 5th request with 500 and each 7th with 429 for ever. Safe between threads.
    """

    def __init__(self, statuses: Iterable[int] = (), *, every: Mapping[int, int] | None = None) -> None:
        self._lock = threading.Lock()
        self._statuses = iter(statuses)
        self._every = dict(every or {})
        self._count = 0

    def next(self) -> int:
        """Return the status for the next request: 200 for an honest answer."""
        with self._lock:
            self._count += 1
            scripted = next(self._statuses, OK)
            if scripted != OK:
                return scripted
            return next((status for n, status in self._every.items() if self._count % n == 0), OK)

    def mend(self) -> None:
        """Answer honestly from now on."""
        with self._lock:
            self._statuses, self._every = iter(()), {}

    def replace(self, statuses: Iterable[int]) -> None:
        """Answer these from now on, then honestly."""
        with self._lock:
            self._statuses, self._every = iter(statuses), {}
