"""Attempts in threads: for `def`."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from jobkit.worker.fence import ThreadFence
from jobkit.worker.outcomes import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobkit.worker.attempt import Attempt, Pipeline
    from jobkit.worker.executors import OnEnd
    from jobkit.worker.fence import Fence

log = logging.getLogger("jobkit.worker")

SHORT: Final = 0.0005
"""Seconds of a mean job below which one thread runs several in turn rather than waking others."""
KICK: Final = 0.001
"""Seconds that attempts may wait for a thread that runs others in turn."""


class ThreadExecutor:
    """A thread a slot, made when first needed.

    One that an interruption was ever sent to is retired and replaced: the processor may have left something half done
    in its thread-local state.

    Waking a thread costs several times what a short job does. So threads are woken one at a time: the woken one wakes
    the next before it runs its job, if there is another, and long jobs fill all threads within a fraction of a
    millisecond. Where the jobs before were short, the one thread that is awake runs them in turn, and `look`, which
    is called again and again while any wait, wakes others for what no thread has come to in a millisecond.
    """

    def __init__(self, pipeline: Pipeline, *, slots: int, on_end: OnEnd) -> None:
        self._pipeline = pipeline
        self._slots = slots
        self._on_end = on_end
        self._ready: deque[Attempt] = deque()
        self._idle: list[threading.Lock] = []
        self._waking = False
        self._mean = 1.0
        self._seen: Attempt | None = None
        self._since = 0.0
        self._gate = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._numbers = 0
        self._stopped = False

    def start(self) -> None:
        """Ready to take attempts; threads come with the first ones."""

    def fence(self) -> Fence:
        """A fence for an attempt that is to run in a thread."""
        return ThreadFence()

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Begin these, each in a thread of its own."""
        self._ready.extend(attempts)
        if not self._waking:
            self._wake_one()

    @property
    def waiting(self) -> bool:
        """Whether attempts were submitted that no thread has begun."""
        return bool(self._ready)

    def look(self) -> float | None:
        """See to what waits: where its first has been so for `KICK` seconds of looks, a thread is woken for each.

        The seconds until the next look; None when nothing waits.
        """
        try:
            first = self._ready[0]
        except IndexError:
            self._seen = None
            return None
        now = time.monotonic()
        if first is not self._seen:
            self._seen, self._since = first, now
        elif now - self._since >= KICK:
            self._since = now
            self._mean = 2 * SHORT
            if not self._waking:
                self._wake_one()
        return KICK

    def stop(self) -> None:
        """Begin nothing more; threads end when their attempt does."""
        with self._gate:
            self._stopped = True
        while self._idle:
            self._rouse()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for all threads, `timeout` seconds each at most; True when all have ended."""
        with self._gate:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in threads)

    def _rouse(self) -> bool:
        try:
            bed = self._idle.pop()
        except IndexError:
            return False
        self._waking = True
        bed.release()
        return True

    def _wake_one(self) -> None:
        if not self._rouse() and len(self._threads) < self._slots:
            with self._gate:
                self._spawn()

    def _spawn(self) -> None:
        if self._stopped or len(self._threads) >= self._slots:
            return
        self._numbers += 1
        thread = threading.Thread(target=self._main, name=f"jobkit-job-{self._numbers}", daemon=True)
        self._threads.add(thread)
        self._waking = True
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            self._waking = False
            raise

    def _next(self, bed: threading.Lock) -> Attempt | None:
        """The attempt to run; waits for one. None when there is nothing more to begin."""
        while True:
            self._waking = False
            try:
                attempt = self._ready.popleft()
            except IndexError:
                if self._stopped:
                    return None
                self._idle.append(bed)
                if self._ready or self._stopped:  # since the look above; whoever put it there may have seen no bed
                    try:
                        self._idle.remove(bed)
                    except ValueError:
                        bed.acquire()  # roused meanwhile
                    continue
                bed.acquire()
            else:
                if self._ready and not self._waking and self._mean > SHORT:
                    self._wake_one()
                return attempt

    def _main(self) -> None:
        run, on_end = self._pipeline.run, self._on_end
        bed = threading.Lock()
        bed.acquire()
        following: Attempt | None = None
        while True:
            attempt = following or self._next(bed)
            if attempt is None:
                break
            attempt.ident = threading.get_ident()
            outcome = run(attempt) if attempt.undecided else Dropped("its claim was lost before it began")
            attempt.over = True
            self._mean += (attempt.ended - attempt.started - self._mean) / 8
            retired = attempt.fence.why is not None
            following = on_end(attempt, outcome)
            if retired:
                self._retire(following)
                return
            if following is not None and self._ready:  # those were handed out before it
                self._ready.append(following)
                following = None
            del attempt, outcome  # a waiting thread holds no job
        with self._gate:
            self._threads.discard(threading.current_thread())

    def _retire(self, following: Attempt | None) -> None:
        with self._gate:
            self._threads.discard(threading.current_thread())
            self._spawn()
        if following is not None:
            self.submit([following])
