"""The container while a worker runs: opened when it starts, closed when its attempts have ended."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from jobkit.container import ContainerArg, open_container

if TYPE_CHECKING:
    from jobkit.worker.loop_executor import LoopExecutor

log = logging.getLogger("jobkit.worker")


class Resources:
    """Opens the container; an async one on the executor's loop, in one task from its opening to its closing."""

    def __init__(self, given: ContainerArg, loop: LoopExecutor) -> None:
        self._opening = open_container(given)
        self._loop = loop
        self._closing: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened = False

    @property
    def needs_loop(self) -> bool:
        """Whether the event loop has to run before `open`."""
        return self._opening.needs_loop

    def open(self) -> Any:
        """The open container; raises what its opening raises."""
        container = self._loop.call(self._enter()) if self.needs_loop else self._opening.__enter__()
        self._opened = True
        return container

    def close(self) -> None:
        """Close it; does nothing where it was not opened. Raises what its closing raises."""
        if not self._opened:
            return
        self._opened = False
        if self._task is not None:
            self._loop.call(self._leave())
        else:
            self._opening.__exit__(None, None, None)

    def close_within(self, timeout: float) -> None:
        """Close it, in a thread of its own: an application's closing may hang, and the worker has to end."""

        def close() -> None:
            try:
                self.close()
            except Exception:
                log.exception("closing the container failed")

        closing = threading.Thread(target=close, name="jobkit-closing", daemon=True)
        closing.start()
        closing.join(timeout)
        if closing.is_alive():
            log.error("the container does not close; leaving it", extra={"waited_s": timeout})

    async def _enter(self) -> Any:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Any] = loop.create_future()
        self._closing = asyncio.Event()
        self._task = loop.create_task(self._hold(ready, self._closing))
        return await ready

    async def _hold(self, ready: asyncio.Future[Any], closing: asyncio.Event) -> None:
        try:
            async with self._opening as container:
                ready.set_result(container)
                await closing.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _leave(self) -> None:
        if self._closing is not None and self._task is not None:
            self._closing.set()
            await self._task
