"""A proxy on loopback that holds every byte back for a while, as a network does.

`python -m benchmarks.proxy HOST PORT MS` adds the milliseconds to a round trip, half of them each way, and prints its
own port. Bytes are passed on in order and may be under way together, as on a wire. The event loop waits in `select`,
whose timeout has microseconds: `epoll` has whole milliseconds, more than what is to be added.
"""

import asyncio
import contextlib
import selectors
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from benchmarks.environments import ROOT

AT_ONCE = 1 << 16


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, wait: float) -> None:
    """Pass on what comes, `wait` seconds later, and the end of it."""
    loop = asyncio.get_running_loop()
    last = loop.time()
    while content := await source.read(AT_ONCE):
        last = loop.time() + wait
        loop.call_at(last, sink.write, content)
    loop.call_at(max(last, loop.time() + wait), sink.close)


async def serve(host: str, port: int, wait: float) -> None:
    """Pass on each connection until this process is ended."""

    async def connected(near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_in, far_out = await asyncio.open_connection(host, port)
        # A client that is killed resets its connection: its two halves end, the others go on.
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(carry(near_in, far_out, wait), carry(far_in, near_out, wait))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


@contextlib.contextmanager
def proxied(url: str, milliseconds: float) -> Iterator[str]:
    """Give the server's URL through a proxy, or as it is where nothing is to be added."""
    if not milliseconds:
        yield url
        return
    parts = urlsplit(url)
    command = [sys.executable, "-m", "benchmarks.proxy", str(parts.hostname), str(parts.port), str(milliseconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        port = int(process.stdout.readline())
        yield f"redis://127.0.0.1:{port}{parts.path}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout:
            process.stdout.close()


if __name__ == "__main__":
    there, at, added = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with (
        asyncio.Runner(
            loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()),
        ) as runner,
        contextlib.suppress(KeyboardInterrupt),
    ):
        runner.run(serve(there, at, added / 2000))
