"""Servers for the tests: private, on a unix socket, without persistence, gone when the tests are."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobkit.embedded.binary import find_binary
from jobkit.embedded.guard import die_with_parent

CONFIG = """\
port 0
unixsocket {folder}/s
unixsocketperm 600
dir {folder}
save ""
appendonly no
maxmemory-policy noeviction
"""


ENDING = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers_as_they_were() -> Iterator[None]:
    """Fail a test that leaves a handler for what ends a process: later tests, and what they fork, would be deaf."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    left = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if left[number] != handler:
            signal.signal(number, handler)
    assert left == before, "the test leaves handlers of signals; put back what was set before"


@pytest.fixture
def handlers_put_back() -> Iterator[None]:
    """Put the handlers back that the test's code sets and leaves, as RQ's workers do: theirs is the process."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def private_server(program: Path) -> Iterator[str]:
    """Run a server of its own for the tests and give its URL; it dies with the test process, however that ends."""
    # In a folder of its own with a short name: a socket's path holds 104 bytes at most, pytest's folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="jk-"))
    server = subprocess.Popen(
        [program, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - async-signal-safe, and started before any thread
    )
    try:
        assert server.stdin
        assert server.stdout
        server.stdin.write(CONFIG.format(folder=folder))
        server.stdin.close()
        # Its log says when it is ready: no polling.
        log = []
        for line in server.stdout:
            log.append(line)
            if "eady to accept connections" in line:
                break
        else:
            pytest.fail(f"{program} did not start:\n{''.join(log)}")
        url = f"unix://{folder}/s"
        # Nobody reads the log from here on: a full pipe would hold the server up.
        command(url, "CONFIG SET loglevel warning")
        yield url
    finally:
        server.kill()
        server.wait()
        if server.stdout:
            server.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def debian_redis() -> Path:
    """Give Debian's redis-server, or skip the test that needs it."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server); .ci/run installs it")
    return Path(program)


def command(url: str, line: str) -> None:
    """Send one command that answers OK."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(url.removeprefix("unix://"))
        connection.sendall(line.encode() + b"\r\n")
        answer = connection.recv(256)
    assert answer == b"+OK\r\n", (line, answer)


def flush(url: str) -> None:
    """Empty a private server."""
    command(url, "FLUSHALL")
    command(url, "SCRIPT FLUSH")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Give the URL of a server that this run of the tests owns; TEST_SERVER=redis takes Debian's."""
    # Not named JOBKIT_...: settings refuse variables of that prefix that they do not know.
    program = debian_redis() if os.environ.get("TEST_SERVER") == "redis" else find_binary()
    with private_server(program) as url:
        yield url


@pytest.fixture(scope="session")
def debian_redis_url() -> Iterator[str]:
    """Give the URL of a private server of Debian's redis-server."""
    with private_server(debian_redis()) as url:
        yield url


@pytest.fixture
def store_url(redis_url: str) -> str:
    """Give the URL of an empty server."""
    flush(redis_url)
    return redis_url


@pytest.fixture(params=["valkey", "redis"])
def both_servers(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty server, once of the embedded Valkey and once of Debian's Redis."""
    name = {"valkey": "redis_url", "redis": "debian_redis_url"}[request.param]
    url: str = request.getfixturevalue(name)
    flush(url)
    return url
