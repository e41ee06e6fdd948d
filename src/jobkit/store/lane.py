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
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from jobkit.store.channel import ClaimChannel
    from jobkit.store.records import Finished


class Lane(asyncio.Protocol):
    """One connection and one call at a time. Belongs to its loop's thread.

    Args:
        channel: whose calls these are; its own connection is never used here.
        timeout: seconds that an answer may take; call `check` now and then.
        on_answer: called with the lane and the answer to its call, which `channel.complete` reads.
        on_broken: called with the lane once it is of no use. A call that was under way is to be settled.

    """

    def __init__(
        self,
        channel: ClaimChannel,
        *,
        timeout: float,
        on_answer: Callable[[Lane, Any], None],
        on_broken: Callable[[Lane], None],
    ) -> None:
        self.channel = channel
        self._busy = False
        self._closed = False
        self._timeout = timeout
        self._on_answer = on_answer
        self._on_broken = on_broken
        self._socket: socket.socket | None = None
        self._transport: Any = None
        self._sent = 0.0
        self._reader: Any = None

    async def open(self) -> bool:
        """Connect; False where lanes cannot be: over TLS, and without hiredis.

        `free` says whether the connection still is there. Raises StoreUnavailable or UnsuitableServer.
        """
        if make_reader is None:
            return False
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._connect)
        sock, self._socket = self._socket, None
        if sock is None:
            return False
        self._reader = make_reader()
        self._busy = False
        try:
            await loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise
        return True

    @property
    def free(self) -> bool:
        """Whether a call may be made."""
        return self._transport is not None and not self._busy

    def advance(self, finished: Sequence[Finished], wants: Mapping[str, int]) -> None:
        """Make the call; its answer comes to `on_answer`. After an error here, `give_up`."""
        self._sent = time.monotonic()
        self._busy = True
        self._transport.write(self.channel.begin(finished, wants))

    def check(self) -> None:
        """Give up an answer that is late."""
        if self._busy and time.monotonic() - self._sent > self._timeout:
            self.give_up()

    def give_up(self) -> None:
        """End the connection, once: `on_broken` hears of it."""
        if self._transport is not None:
            self._drop()
            self._on_broken(self)

    def close(self) -> None:
        """Close the connection for good, without a word."""
        self._closed = True
        self._drop()

    def connection_made(self, transport: Any) -> None:
        """Be told the transport; asyncio's."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read what came; asyncio's."""
        self._reader.feed(data)
        reply = self._reader.gets()
        if reply is False:
            return
        if not self._busy or isinstance(reply, ReplyError) or self._reader.gets() is not False:
            self.give_up()
            return
        self._busy = False
        self._on_answer(self, reply)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Hear that the connection is gone; asyncio's."""
        self.give_up()

    def _connect(self) -> None:
        """In a thread. The socket is kept here, so that it is closed where nobody waits for it any more."""
        self._drop_socket()
        self._socket = self.channel.connect()
        if self._closed:
            self._drop_socket()

    def _drop(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._drop_socket()

    def _drop_socket(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()
