"""Claiming ahead: while the server answers one call, the worker runs jobs that an earlier one brought."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from jobkit.worker.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobkit.worker.attempt import Attempt

START_WITHIN: Final = 0.1
"""Seconds after which a job that was claimed ahead and has not begun is given back."""
IDLE: Final = 1.0
"""Seconds without any end after which the pace of before says nothing any more."""
_WEIGHT: Final = 0.2


class Pace:
    """How many jobs to claim ahead: as many as end during one call, by Little's law; none for long jobs.

    The finisher and the lanes record; of two records at once one may be lost, and the next ones make up for it.
    """

    def __init__(self, capacity: Mapping[str, int]) -> None:
        self._capacity = dict(capacity)
        self._rates = dict.fromkeys(capacity, 0.0)
        self._round_trip = 0.0
        self._last = time.monotonic()

    def record(self, finished: Mapping[str, int], began: float, ended: float) -> None:
        """A call from `began` to `ended` (monotonic) brought these finishes in."""
        since = max(1e-6, ended - self._last)
        self._last = ended
        self._round_trip += _WEIGHT * (ended - began - self._round_trip)
        for queue, rate in self._rates.items():
            self._rates[queue] = rate + _WEIGHT * (finished.get(queue, 0) / since - rate)

    def slow(self, queue: str) -> None:
        """Jobs of this queue waited in vain: claim none ahead until they end quickly again."""
        self._rates[queue] = 0.0

    def ahead(self) -> dict[str, int]:
        """The jobs of each queue to claim beyond its slots, at most as many as it has."""
        if time.monotonic() - self._last > IDLE:
            return dict.fromkeys(self._rates, 0)
        trip = self._round_trip
        return {queue: min(self._capacity[queue], round(rate * trip)) for queue, rate in self._rates.items()}


class GiveBack(Part):
    """Gives back what was claimed ahead and did not begin in time."""

    def __init__(
        self,
        give_back: Callable[[Sequence[Attempt]], None],
        *,
        on_crash: Callable[[str], None],
        within: float = START_WITHIN,
    ) -> None:
        super().__init__("give-back", on_crash=on_crash)
        self._give_back = give_back
        self._within = within
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, Sequence[Attempt]]] = deque()

    def watch(self, attempts: Sequence[Attempt]) -> None:
        """These wait for a permit from now on."""
        with self._changed:
            self._waiting.append((time.monotonic() + self._within, attempts))
            if len(self._waiting) == 1:
                self._changed.notify()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _body(self) -> None:
        while True:
            late: list[Attempt] = []
            with self._changed:
                if self._stopping.is_set():
                    return
                now = time.monotonic()
                while self._waiting and self._waiting[0][0] <= now:
                    late += [each for each in self._waiting.popleft()[1] if each.began is None]
                if not late:
                    self._changed.wait(self._waiting[0][0] - now if self._waiting else None)
                    continue
            self._give_back(late)
