"""The watchdog: one thread that interrupts attempts, at their deadline or because somebody asks."""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from jobkit.errors import JobTimeout
from jobkit.worker.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobkit.errors import Interruption
    from jobkit.worker.attempt import Attempt

MASKED_FOR = 0.05
"""Seconds until an attempt that could not be reached is tried again."""
LOOKS_AGAIN = 3600.0
"""Seconds that it waits at most: a job may bring a timeout that is longer than a thread can wait."""


class Watchdog(Part):
    """Sends interruptions, once an attempt; what still runs `grace` seconds after one is given up."""

    def __init__(self, *, grace: float, on_give_up: Callable[[Attempt], None], on_crash: Callable[[str], None]) -> None:
        super().__init__("watchdog", on_crash=on_crash)
        self._grace = grace
        self._on_give_up = on_give_up
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Attempt, type[Interruption] | None]] = []
        self._numbers = itertools.count()
        self._limit = 256

    def watch(self, attempts: Iterable[Attempt]) -> None:
        """Interrupt each at the end of its timeout; those without one are left alone."""
        now = time.monotonic()
        self._push([(now + a.timeout, a, JobTimeout) for a in attempts if a.timeout is not None])

    def extend(self, attempt: Attempt) -> None:
        """Interrupt it at the end of its timeout, which has been set anew while it ran."""
        if attempt.began is not None and attempt.timeout is not None:
            self._push([(attempt.began + attempt.timeout, attempt, JobTimeout)])

    def interrupt(self, attempts: Iterable[Attempt], why: type[Interruption]) -> None:
        """Interrupt each as soon as it can be reached."""
        now = time.monotonic()
        self._push([(now, a, why) for a in attempts])

    def _push(self, entries: list[tuple[float, Attempt, type[Interruption] | None]]) -> None:
        if not entries:
            return
        with self._changed:
            before = self._heap[0][0] if self._heap else float("inf")
            for when, attempt, why in entries:
                heapq.heappush(self._heap, (when, next(self._numbers), attempt, why))
            if len(self._heap) > self._limit:
                self._compact()
            if self._heap and self._heap[0][0] < before:
                self._changed.notify()

    def _compact(self) -> None:
        """Forget attempts that are over: a short job's deadline would otherwise stay for its whole timeout."""
        self._heap = [entry for entry in self._heap if not entry[2].over]
        heapq.heapify(self._heap)
        self._limit = max(256, 2 * len(self._heap))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _body(self) -> None:
        while True:
            due: list[tuple[float, int, Attempt, type[Interruption] | None]] = []
            with self._changed:
                if self._stopping.is_set():
                    return
                now = time.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    due.append(heapq.heappop(self._heap))
                if not due:
                    self._changed.wait(min(self._heap[0][0] - now, LOOKS_AGAIN) if self._heap else None)
                    continue
            for _, _, attempt, why in due:
                self._fire(attempt, why, now)

    def _fire(self, attempt: Attempt, why: type[Interruption] | None, now: float) -> None:
        if attempt.over:
            return
        if why is None:
            self._on_give_up(attempt)
            return
        if attempt.fence.why is not None:
            return  # interrupted before, for another reason
        if why is JobTimeout and attempt.timeout is not None:
            deadline = (attempt.began or now) + attempt.timeout
            if deadline > now:
                self._push([(deadline, attempt, why)])
                return
        if attempt.fence.interrupt(why):
            self._push([(now + self._grace, attempt, None)])
        else:
            self._push([(now + MASKED_FOR, attempt, why)])


def stack_of(ident: int | None) -> str:
    """Where a thread is now: what a job that does not end was last seen doing. Empty when it has none."""
    frame = sys._current_frames().get(ident) if ident is not None else None  # noqa: SLF001 - the documented way
    return "".join(traceback.format_stack(frame)) if frame is not None else ""
