"""Attempts on an event loop: for `async def`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from jobkit.worker.event_loops import new_event_loop
from jobkit.worker.fence import TaskFence
from jobkit.worker.outcomes import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobkit.worker.attempt import Attempt, Pipeline
    from jobkit.worker.event_loops import LoopKind
    from jobkit.worker.executors import OnEnd
    from jobkit.worker.fence import Fence

log = logging.getLogger("jobkit.worker")

CANCEL_WAITS: Final = 0.5
"""Seconds that cancelled tasks have to end when the worker does."""
IN_THREAD: Final = "jobkit-in-thread"


class LoopExecutor:
    """One event loop in a thread; an attempt is a task in an empty context."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        slots: int,
        on_end: OnEnd,
        kind: LoopKind = "auto",
    ) -> None:
        self._pipeline = pipeline
        self._slots = slots
        self._on_end = on_end
        self._kind: LoopKind = kind
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = threading.Lock()
        self._thread: threading.Thread | None = None
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._stopped = False
        self._over = False

    def start(self) -> None:
        """Begin the loop; RuntimeError when it was begun before."""
        with self._gate:
            if self._thread is not None:
                raise RuntimeError("event loop: expected one start(), got a second; make a new worker")
            if self._stopped:
                return
            self._loop = new_event_loop(self._kind)
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
            self._tasks[attempt] = task
            if isinstance(attempt.fence, TaskFence):
                attempt.fence.begin(task)

    async def _one(self, attempt: Attempt) -> None:
        try:
            attempt.ident = threading.get_ident()
            if attempt.undecided:
                outcome = await self._pipeline.arun(attempt)
            else:
                outcome = Dropped("its claim was lost before it began")
            attempt.over = True
            following = self._on_end(attempt, outcome)
            if following is not None:
                self._begin([following])
        finally:
            # Not by a callback of the task, which costs each job another turn of the loop.
            self._tasks.pop(attempt, None)

    async def _cancel_all(self) -> None:
        tasks = [
            task for task in self._tasks.values() if not task.done()
        ]  # one that is cancelled before it begins stays there
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
