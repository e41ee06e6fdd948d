"""A numbered caller on an event loop: its calls are sent and their answers read without a thread being woken.

Waking a thread for each batch costs more than running a batch of short jobs, so attempts that end on a loop are
recorded from there. A lane only does the plain case: one call under way, on a connection that works. Whatever else
happens (the connection breaks, the answer is an error or late) ends the lane, and the channel is handed to a thread,
which repeats the unanswered call as any channel does. Then the lane may be opened again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from jobkit.store.wire import ReplyError, make_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobkit.store.channel import ClaimChannel
    from jobkit.store.records import Batch, Finished


class Lane(asyncio.Protocol):
    """One connection and one call at a time. Belongs to its loop's thread, apart from `connect`.

    Args:
        channel: whose calls these are. Nobody else may use it until `on_broken` was called.
        timeout: seconds that an answer may take; call `check` now and then.
        on_answer: called with the lane and what a call brought.
        on_broken: called with the lane once it is of no use.

    """

    def __init__(
        self,
        channel: ClaimChannel,
        *,
        timeout: float,
        on_answer: Callable[[Lane, Batch], None],
        on_broken: Callable[[Lane], None],
    ) -> None:
        self.channel = channel
        self.busy = False
        self._timeout = timeout
        self._on_answer = on_answer
        self._on_broken = on_broken
        self._transport: Any = None
        self._sent = 0.0
        self._reader: Any = None

    async def open(self) -> bool:
        """Connect; False where lanes cannot be: over TLS, and without hiredis.

        Raises StoreUnavailable or UnsuitableServer.
        """
        loop = asyncio.get_running_loop()
        sock = await loop.run_in_executor(None, self.channel.connect) if make_reader is not None else None
        if make_reader is None or sock is None:
            return False
        self._reader = make_reader()
        self.busy = False
        await loop.create_connection(lambda: self, sock=sock)
        return True

    @property
    def free(self) -> bool:
        """Whether a call may be made."""
        return self._transport is not None and not self.busy

    def advance(self, finished: Sequence[Finished], wants: Mapping[str, int]) -> None:
        """Make the call; its answer comes to `on_answer`."""
        self._sent = time.monotonic()
        self.busy = True
        self._transport.write(self.channel.begin(finished, wants))

    def check(self) -> None:
        """Give up an answer that is late."""
        if self.busy and self._transport is not None and time.monotonic() - self._sent > self._timeout:
            self._break()

    def close(self) -> None:
        """Close the connection without a word; a call under way is left to its leases."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self.channel.close()

    def connection_made(self, transport: Any) -> None:
        """Be told the transport; asyncio's."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read what came; asyncio's."""
        self._reader.feed(data)
        reply = self._reader.gets()
        if reply is False:
            return
        if isinstance(reply, ReplyError) or not self.busy:
            self._break()
            return
        self.busy = False
        self._on_answer(self, self.channel.complete(reply))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Hear that the connection is gone; asyncio's."""
        self._break()

    def _break(self) -> None:
        if self._transport is not None:
            self.close()
            self._on_broken(self)
