"""Where attempts run: threads for `def`, one event loop for `async def`. They touch no Redis.

An executor takes attempts in batches, runs each through the pipeline, and hands every one back through `on_end` exactly
once, with its outcome. `on_end` may answer the attempt to run next in the place of the one that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from jobkit.worker.fence import TaskFence, ThreadFence
from jobkit.worker.outcomes import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobkit.worker.attempt import Attempt, Pipeline
    from jobkit.worker.fence import Fence
    from jobkit.worker.outcomes import Outcome

log = logging.getLogger("jobkit.worker")

OnEnd: TypeAlias = "Callable[[Attempt, Outcome], Attempt | None]"
SHORT: Final = 0.0005
"""Seconds of a mean job below which one thread runs several in turn rather than waking others."""
KICK: Final = 0.001
"""Seconds that attempts may wait for a thread that runs others in turn."""
CANCEL_WAITS: Final = 0.5
"""Seconds that cancelled tasks have to end when the worker does."""
IN_THREAD: Final = "jobkit-in-thread"


class Executor(Protocol):
    """Runs attempts. `start()`, `stop()` and `join()` as every background part."""

    def fence(self) -> Fence:
        """A fence for an attempt that is to run here."""
        ...

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Begin these; returns at once."""
        ...


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


class LoopExecutor:
    """One event loop in a thread; an attempt is a task in an empty context."""

    def __init__(self, pipeline: Pipeline, *, slots: int, on_end: OnEnd) -> None:
        self._pipeline = pipeline
        self._slots = slots
        self._on_end = on_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = threading.Lock()
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._over = False

    def start(self) -> None:
        """Begin the loop; RuntimeError when it was begun before."""
        with self._gate:
            if self._thread is not None:
                raise RuntimeError("event loop: expected one start(), got a second; make a new worker")
            if self._stopped:
                return
            self._loop = asyncio.new_event_loop()
            # in_thread() and the steps of async processors wait for these threads: no slot may starve another.
            self._pool = ThreadPoolExecutor(2 * self._slots + 4, IN_THREAD)
            self._loop.set_default_executor(self._pool)
            self._thread = threading.Thread(target=self._main, args=(self._loop,), name="jobkit-loop", daemon=True)
            self._thread.start()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop and wait for it: the resources of async processors live there."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def fence(self) -> Fence:
        """A fence for an attempt that is to run on the loop."""
        return TaskFence(self._running())

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Begin these as tasks."""
        if threading.current_thread() is self._thread:
            self._begin(attempts)
        else:
            self._running().call_soon_threadsafe(self._begin, attempts)

    def post(self, call: Callable[[], object]) -> None:
        """Call it on the loop, soon; from any thread. Not any more once the loop is closed."""
        with contextlib.suppress(RuntimeError):
            self._running().call_soon_threadsafe(call)

    def cancel(self) -> None:
        """Cancel what runs, and wait a moment for its end: what the container holds is closed next."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            future = asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop)
            with contextlib.suppress(TimeoutError):
                future.result(CANCEL_WAITS)

    def has_strays(self) -> bool:
        """Whether a blocking call that in_thread() began still runs after `stop`."""
        return any(thread.name.startswith(IN_THREAD) for thread in threading.enumerate())

    def stop(self) -> None:
        """Cancel what runs and end the loop."""
        with self._gate:
            first, self._stopped = not self._stopped, True
            loop = self._loop
        if first and loop is not None:
            loop.call_soon_threadsafe(self._finish)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the loop's end, `timeout` seconds at most; True when it has ended."""
        thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the event loop is not running: start() comes first")
        return self._loop

    def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._over:
                self._turn(loop)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            self._pool.shutdown(wait=False, cancel_futures=True)
            loop.close()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until it stops: at the worker's end, or because a task of a processor's own stopped it."""
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # asyncio hands the two on from any task or callback. A task that is awaited has told its processor too.
            log.exception("a processor's task asked the process to end; the event loop goes on")
        else:
            if not self._over:
                log.error("a processor stopped the event loop that all async jobs share; it goes on")

    def _begin(self, attempts: Sequence[Attempt]) -> None:
        loop, context = self._running(), self._pipeline.context
        for attempt in attempts:
            task = loop.create_task(self._one(attempt), context=context(attempt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if isinstance(attempt.fence, TaskFence):
                attempt.fence.begin(task)

    async def _one(self, attempt: Attempt) -> None:
        attempt.ident = threading.get_ident()
        if attempt.undecided:
            outcome = await self._pipeline.arun(attempt)
        else:
            outcome = Dropped("its claim was lost before it began")
        attempt.over = True
        following = self._on_end(attempt, outcome)
        if following is not None:
            self._begin([following])

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_WAITS)

    def _finish(self) -> None:
        loop = self._running()

        async def finish() -> None:
            await self._cancel_all()
            self._over = True
            loop.stop()

        self._finishing = loop.create_task(finish())
