"""Waiting for new entries of many streams on one connection of an event loop.

A blocking read takes a connection for itself. A web API may have hundreds of requests that wait for results, so all of
a loop's waiters share one XREAD over their streams. Whoever joins ends the read under way (CLIENT UNBLOCK), and the
next one includes it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

_ROUND: Final = 1000
"""Milliseconds that one read waits. A newcomer that cannot end it waits for so long at most."""
_NUDGES: Final = 10
"""How often a newcomer tries to end the read, which may still be on its way to the server."""
_CANCEL_AGAIN: Final = 0.05
"""Seconds after which a task is cancelled again: before Python 3.12 asyncio.wait_for, in redis-py, may lose one."""
_FAILURES: Final = (RedisError, OSError)
_CUT_OFF: Final = (RedisConnectionError, OSError)


class StreamWatch:
    """The waiters of one event loop.

    Args:
        reader: a client with one connection, which the blocking read has for itself.
        caller: the loop's ordinary client.

    """

    def __init__(self, reader: Any, caller: Any) -> None:
        self._reader = reader
        self._caller = caller
        self._reader_id: int | None = None
        self._waiters: dict[str, dict[asyncio.Future[None], str]] = {}
        self._asked: dict[str, str] = {}
        self._newcomers = False
        self._reading: asyncio.Task[None] | None = None
        self._nudging: asyncio.Task[None] | None = None

    async def wait(self, stream: str, after: str, timeout: float) -> None:  # noqa: ASYNC109 - no error when it is over
        """Return when the stream may have an entry newer than `after`, or `timeout` seconds have passed.

        Raises what redis-py raises.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(stream, {})[waiter] = after
        try:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            elif self._asked.get(stream) != after:
                self._newcomers = True
                if self._nudging is None:
                    self._nudging = asyncio.create_task(self._nudge())
            ended, _ = await asyncio.wait([waiter], timeout=timeout)
            if ended:
                waiter.result()
        finally:
            left = self._waiters[stream]
            del left[waiter]
            if not left:
                del self._waiters[stream]

    async def aclose(self) -> None:
        """End the read and close its connection; who still waits is cancelled."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.cancel()
        running = {task for task in (self._reading, self._nudging) if task is not None}
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN)
        await self._reader.aclose()

    async def _read(self) -> None:
        again = True
        try:
            while self._waiters:
                try:
                    found = await self._read_once()
                except _CUT_OFF:
                    # The server may have closed a connection that was idle; the read has no effects to repeat.
                    self._reader_id = None
                    if not again:
                        raise
                    again = False
                    continue
                again = True
                for stream in found:
                    self._wake(stream)
        except _FAILURES as error:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_exception(error)
        finally:
            self._asked = {}
            self._reading = None

    async def _read_once(self) -> list[str]:
        if self._reader_id is None:
            self._reader_id = int(await self._reader.client_id())
        self._newcomers = False
        # The oldest place wins: who has seen more is woken for nothing, looks, and waits on.
        self._asked = {stream: min(waiters.values(), key=_place) for stream, waiters in self._waiters.items()}
        words = ("XREAD", "COUNT", 1, "BLOCK", _ROUND, "STREAMS", *self._asked, *self._asked.values())
        reply = await self._reader.execute_command(*words)
        rows = reply.items() if isinstance(reply, dict) else reply or ()
        return [row[0].decode() for row in rows]

    def _wake(self, stream: str) -> None:
        for waiter in self._waiters.get(stream, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def _nudge(self) -> None:
        try:
            for _ in range(_NUDGES):
                if not self._newcomers or self._reader_id is None:
                    return
                await self._caller.client_unblock(self._reader_id)
        except _FAILURES:
            return  # Not allowed, or the server is away: the read ends by itself, or fails and tells its waiters.
        finally:
            self._nudging = None


def _place(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
