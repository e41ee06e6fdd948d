"""A proxy on loopback that holds every byte back for a while, as a network does.

`python -m benchmarks.proxy HOST PORT MS` holds back for so many milliseconds each way, and prints its own port. Bytes
are passed on in order and may be under way together, as on a wire. The event loop waits in `select`, whose timeout
has microseconds: `epoll` has whole milliseconds, more than what is to be added.

The proxy's own work takes time too, so `proxied` sets how long it holds back by measuring what a round trip takes.
"""

import asyncio
import contextlib
import ctypes
import selectors
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import attrs
import redis

from benchmarks.environments import ROOT

TRIPS: Final = 300
"""Round trips whose median tells how long one takes."""
SLACK: Final = 29
"""PR_SET_TIMERSLACK: Linux ends waits up to 50 us late unless it is told otherwise."""


class Half(asyncio.Protocol):
    """One side of a connection: what comes in goes out on the other side, `wait` seconds later."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.loop = asyncio.get_running_loop()
        self.out: asyncio.Future[asyncio.Transport] = self.loop.create_future()
        self.early: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Pass on, later; what comes before the other side is connected waits for that too."""
        if self.out.done():
            self.loop.call_later(self.wait, self.out.result().write, data)
        else:
            self.early.append(data)

    def connection_lost(self, _: Exception | None) -> None:
        """Pass on the end, after what is still held back."""
        if self.out.done():
            self.loop.call_later(self.wait, self.out.result().close)
        else:
            self.out.cancel()

    def leads_to(self, out: asyncio.Transport) -> None:
        """Connect the other side."""
        if self.out.cancelled():
            out.close()
            return
        self.out.set_result(out)
        for data in self.early:
            self.data_received(data)


class Near(Half):
    """The client's side; being connected connects the far one."""

    def __init__(self, host: str, port: int, wait: float) -> None:
        super().__init__(wait)
        self.host, self.port = host, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the server."""
        self.task = self.loop.create_task(self._reach(transport))

    async def _reach(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        far, behind = await self.loop.create_connection(lambda: Half(self.wait), self.host, self.port)
        behind.leads_to(transport)
        self.leads_to(far)


async def serve(host: str, port: int, wait: float) -> None:
    """Pass on each connection until this process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Near(host, port, wait), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


@attrs.frozen
class Through:
    """A server's URL, and the milliseconds that a round trip takes there and without the proxy."""

    url: str
    trip: float = 0.0
    direct: float = 0.0


def trip(url: str) -> float:
    """Measure the median round trip, in milliseconds."""
    with redis.Redis.from_url(url) as client:
        taken = []
        for _ in range(TRIPS):
            began = time.perf_counter()
            client.ping()
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


@contextlib.contextmanager
def running(url: str, wait: float) -> Iterator[str]:
    """Run a proxy that holds back so many milliseconds each way."""
    parts = urlsplit(url)
    command = [sys.executable, "-m", "benchmarks.proxy", str(parts.hostname), str(parts.port), str(wait)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield f"redis://127.0.0.1:{int(process.stdout.readline())}{parts.path}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout:
            process.stdout.close()


@contextlib.contextmanager
def proxied(url: str, added: float) -> Iterator[Through]:
    """Add so many milliseconds to a round trip with the server, or give it as it is where nothing is to be added."""
    if not added:
        yield Through(url)
        return
    direct = trip(url)
    with running(url, added / 2) as first:
        surplus = trip(first) - direct - added
    with running(url, max(0.0, (added - surplus) / 2)) as second:
        yield Through(second, trip(second), direct)


if __name__ == "__main__":
    there, at, held = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(SLACK, 1, 0, 0, 0)
    with (
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner,
        contextlib.suppress(KeyboardInterrupt),
    ):
        runner.run(serve(there, at, held / 1000))
