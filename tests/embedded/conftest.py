"""Processes that use an embedded server, and what is needed to watch them."""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
import redis

import jobkit.embedded

# Speaks to the server by itself: these tests start many processes, and importing a client is what would cost most.
PROGRAM = """\
import os, socket, sys
from jobkit.embedded import EmbeddedServer

def read(replies):
    kind, rest = replies.read(1), replies.readline().strip()
    if kind == "$":
        return replies.read(int(rest) + 2)[:-2]
    if kind == "*":
        return " ".join(read(replies) for _ in range(int(rest)))
    return rest

def execute(line):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket_path))
        connection.sendall(line.encode())
        return read(connection.makefile(newline="\\n"))

EmbeddedServer._kernel_tie = EmbeddedServer._kernel_tie and "--no-kernel-tie" not in sys.argv
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "acquire":
        server = EmbeddedServer.acquire(sys.argv[1])
        answer = execute("info server\\n").partition("process_id:")[2].split()[0]
    elif command == "release":
        server.release()
        answer = "released"
    elif command == "fork":
        child = os.fork()
        if not child:
            if arguments == ["release"]:
                server.release()
            os._exit(0)
        os.waitpid(child, 0)
        answer = "waited"
    else:
        answer = execute(line)
    print(answer, flush=True)
"""


class User:
    """A process that uses the server of a folder as it is told to."""

    def __init__(self, folder: Path, *options: str, env: dict[str, str] | None = None) -> None:
        source = str(Path(jobkit.embedded.__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source, **(env or {})},
        )
        self.pid = self.process.pid
        self.server = 0

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.hear()

    def acquire(self) -> Self:
        self.server = int(self.ask("acquire"))
        return self

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Watched:
    """A process that is nobody's child here; the kernel says when it ends, even of one that was waited for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    def ended(self, within: float = 10.0) -> bool:
        """Say whether the process ends within so many seconds."""
        return bool(select.select([self.fd], [], [], within)[0])

    def close(self) -> None:
        os.close(self.fd)


def parent_of(pid: int) -> int:
    """Give a process's parent: a server's is its guard."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def process_id(url: str) -> int:
    """Ask the server for its pid."""
    with redis.Redis.from_url(url) as client:
        pid: int = client.info("server")["process_id"]  # type: ignore[index]
        return pid


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Callable[..., User]]:
    """Start users of a folder in this test's own; they and so their servers end with it."""
    users: list[User] = []

    def start(*options: str, folder: Path = tmp_path / "data", env: dict[str, str] | None = None) -> User:
        users.append(User(folder, *options, env=env))
        return users[-1]

    yield start
    for one in users:
        if not one.process.stdin or not one.process.stdin.closed:
            one.close()


@pytest.fixture
def watch() -> Iterator[Callable[[int], Watched]]:
    """Watch a process by its pid."""
    watched: list[Watched] = []

    def start(pid: int) -> Watched:
        watched.append(Watched(pid))
        return watched[-1]

    yield start
    for one in watched:
        one.close()


@pytest.fixture
def guard_of() -> Callable[[int], int]:
    """Give the pid of a server's guard."""
    return parent_of


@pytest.fixture
def pid_of() -> Callable[[str], int]:
    """Give the pid of the server at a URL."""
    return process_id
