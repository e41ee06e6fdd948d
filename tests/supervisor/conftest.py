"""Worker processes as an operator starts them, and signals to wait for: systemd's socket, the log, lists in Redis."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from jobkit.embedded.binary import find_binary
from tests.conftest import private_server

PATIENCE = 10.0
"""Seconds after which a signal that does not come fails its test."""
APP = """
import os, threading
import redis
from jobkit import Job, JobKit, Payload, QueueSpec, processor

class Run(Payload[int], name="run", queue="q"):
    kind: str

@processor(Run)
def run(job: Job[Run]) -> int:
    server = redis.Redis.from_url(os.environ["JOBKIT_REDIS_URL"])
    server.rpush("entered", f"{os.getpid()} {os.environ.get('NOTIFY_SOCKET')}")
    if job.payload.kind == "told":       # until the test says so
        server.blpop(["go"])
    if job.payload.kind == "stuck":      # for ever, out of reach of any exception
        threading.Event().wait()
    return os.getpid()

kit = JobKit(queues=[QueueSpec("q", concurrency=100)], processors=[run])
"""


class Systemd:
    """The socket of a service manager: what it is told, as a queue to wait on."""

    def __init__(self, address: str) -> None:
        self.name = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(PATIENCE)
        self.told: list[str] = []

    def wait_for(self, *lines: str) -> None:
        """Wait until each of these was told, since the last call."""
        wanted = set(lines)
        while wanted:
            got = self._socket.recv(4096).decode().splitlines()
            self.told += got
            wanted -= set(got)

    def drain(self) -> None:
        """Take what has been told by now."""
        self._socket.settimeout(0)
        try:
            while True:
                self.told += self._socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()


class Running:
    """A `jobkit worker` process, its log as lines to wait for."""

    def __init__(self, folder: Path, url: str, systemd: Systemd, arguments: list[str], environ: dict[str, str]) -> None:
        self.systemd = systemd
        self.arguments = arguments
        self.url = url
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobkit", "worker", *arguments],
            cwd=folder,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith("JOBKIT_")},
                "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
                "NOTIFY_SOCKET": systemd.name,
                "JOBKIT_APP": "app:kit",
                "JOBKIT_REDIS_URL": url,
                "JOBKIT_LOG_FORMAT": "json",
                **environ,
            },
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.seen: list[dict[str, Any]] = []
        self.plain: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """The next line of the log that says this."""
        while (line := self._next()) is not None:
            if line["event"] == event and fields.items() <= line.items():
                return line
        raise AssertionError((event, self.seen, self.plain))

    def _next(self) -> dict[str, Any] | None:
        while (text := self._lines.get(timeout=PATIENCE)) is not None:
            if text.startswith("{"):
                line: dict[str, Any] = json.loads(text)
                self.seen.append(line)
                return line
            self.plain.append(text)
        return None

    def ready(self) -> None:
        self.systemd.wait_for("READY=1")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """The exit code, once no process of it is left: each holds the log open."""
        while self._next() is not None:
            pass
        return self.process.wait(PATIENCE)

    @property
    def ready_file(self) -> Path:
        return Path(self.arguments[self.arguments.index("--ready-file") + 1])

    def children(self) -> list[int]:
        """Every worker process that the log has told of by now."""
        while not self._lines.empty() and self._next() is not None:
            pass
        return [line["worker_pid"] for line in self.seen if line["event"] == "worker process started"]

    def claiming(self) -> list[int]:
        """The worker processes that have not ended, of which the log has told by now."""
        started = self.children()
        ended = {line["worker_pid"] for line in self.seen if line["event"].startswith("worker process ended")}
        return [pid for pid in started if pid not in ended]

    def kill(self) -> None:
        """End what a failed test left."""
        for pid in (self.pid, *self.children()):
            if pid != self.pid or self.process.poll() is None:
                try:
                    # Only one that is still ours to kill: ids are used again.
                    if pid == self.pid or re.search(r"--supervised", Path(f"/proc/{pid}/cmdline").read_text()):
                        os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr
        self.process.stderr.close()


class Jobs:
    """A client of the app."""

    def __init__(self, url: str) -> None:
        from jobkit import JobKit, Payload, QueueSpec, Settings

        class Run(Payload[int], name="run", queue="q"):
            kind: str

        self.kit = JobKit(Settings(redis_url=url), queues=[QueueSpec("q")])
        self._payload = Run
        self.redis = redis.Redis.from_url(url, decode_responses=True)

    def enqueue(self, kind: str, times: int = 1) -> list[Any]:
        return self.kit.enqueue_many([self._payload(kind=kind)] * times)

    def entered(self, times: int = 1) -> list[str]:
        """Wait until jobs have begun; for each its process and what that knows of systemd."""
        got: Any = [self.redis.blpop(["entered"], PATIENCE) for _ in range(times)]
        assert all(got)
        return [each[1] for each in got]

    def states(self, handles: list[Any]) -> set[str]:
        return {str(handle.status().state) for handle in handles}

    def close(self) -> None:
        self.redis.close()
        self.kit.close()


@contextmanager
def app_folder() -> Iterator[Path]:
    """A folder with the app in it, of a short name: a socket's path in it holds 104 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="jk-"))
    (path / "app.py").write_text(textwrap.dedent(APP))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder with the app in it."""
    with app_folder() as path:
        yield path


@pytest.fixture
def systemd(folder: Path) -> Iterator[Systemd]:
    """Give a service manager's socket."""
    with contextlib.closing(Systemd(str(folder / "notify"))) as each:
        yield each


@pytest.fixture
def running(folder: Path, store_url: str, systemd: Systemd) -> Iterator[Callable[..., Running]]:
    """Start workers; what a failed test leaves of them is killed."""
    made: list[Running] = []

    def start(*arguments: str, **environ: str) -> Running:
        each = Running(folder, store_url, systemd, list(arguments), environ)
        made.append(each)
        return each

    yield start
    for each in made:
        each.kill()


@pytest.fixture(scope="module")
def pair() -> Iterator[Running]:
    """Give a supervisor with two processes, ready, for all tests of a file: three Pythons take a while to start.

    On a server of its own: other tests empty theirs.
    """
    with (
        private_server(find_binary()) as url,
        app_folder() as folder,
        contextlib.closing(Systemd(f"@{folder}")) as systemd,
    ):
        arguments = ["--processes", "2", "--ready-file", str(folder / "ready")]
        each = Running(folder, url, systemd, arguments, {"JOBKIT_LEASE": "3"})
        try:
            each.ready()
            yield each
        finally:
            each.kill()


@pytest.fixture
def pair_jobs(pair: Running) -> Iterator[Jobs]:
    """Give a client of the pair's app."""
    with contextlib.closing(Jobs(pair.url)) as each:
        yield each


@pytest.fixture
def jobs(store_url: str) -> Iterator[Jobs]:
    """Give a client."""
    with contextlib.closing(Jobs(store_url)) as each:
        yield each
