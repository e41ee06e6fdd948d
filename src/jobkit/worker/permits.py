"""Who may run: never more attempts of a queue than its concurrency, whatever was claimed ahead."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jobkit.worker.attempt import Attempt


class Permits:
    """One permit a slot. An attempt that ends passes its permit on to the next one that waits; thread-safe."""

    def __init__(self, capacity: Mapping[str, int]) -> None:
        self._left = dict(capacity)
        self._waiting: dict[str, deque[Attempt]] = {queue: deque() for queue in capacity}
        self._gate = threading.Lock()
        self._closed = False

    def admit(self, attempts: Iterable[Attempt]) -> tuple[list[Attempt], list[Attempt]]:
        """Those that may begin now, and those that wait for a permit."""
        now: list[Attempt] = []
        later: list[Attempt] = []
        with self._gate:
            for attempt in attempts:
                queue = attempt.claimed.queue
                if self._left[queue] > 0 and not self._closed:
                    self._left[queue] -= 1
                    now.append(attempt)
                else:
                    self._waiting[queue].append(attempt)
                    later.append(attempt)
        return now, later

    def pass_on(self, queue: str) -> Attempt | None:
        """The attempt that gets the permit of one that has ended; None when none waits."""
        with self._gate:
            waiting = self._waiting[queue]
            if waiting and not self._closed:
                return waiting.popleft()
            self._left[queue] += 1
            return None

    def take_back(self, attempts: Iterable[Attempt]) -> list[Attempt]:
        """Those of the attempts that still wait; they do not any more."""
        taken: list[Attempt] = []
        with self._gate:
            for attempt in attempts:
                waiting = self._waiting[attempt.claimed.queue]
                if attempt in waiting:
                    waiting.remove(attempt)
                    taken.append(attempt)
        return taken

    def close(self) -> Sequence[Attempt]:
        """Let nobody begin any more; those that waited."""
        with self._gate:
            self._closed = True
            left = [attempt for waiting in self._waiting.values() for attempt in waiting]
            for waiting in self._waiting.values():
                waiting.clear()
        return left
