"""Redis away: at the start, while jobs run, for a moment and for longer than a lease."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobkit.embedded.binary import find_binary
from jobkit.embedded.guard import die_with_parent
from jobkit.errors import StoreUnavailable
from jobkit.jobs import Job, JobState
from jobkit.payloads import Payload
from jobkit.policies import Fixed, Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec

CONFIG = """\
port 0
unixsocket {folder}/s
dir {folder}
save ""
appendonly yes
appendfsync always
"""


class Server:
    """A server that keeps what it acknowledged, and can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/s"
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        process = subprocess.Popen(
            [find_binary(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - async-signal-safe
        )
        self._process = process
        assert process.stdin
        assert process.stdout
        process.stdin.write(CONFIG.format(folder=self._folder))
        process.stdin.close()
        for line in process.stdout:
            if "eady to accept connections" in line:
                break
        # Nobody reads its log from here on; it is a few lines, which the pipe holds.

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a running server with an append-only file."""
    folder = Path(tempfile.mkdtemp(prefix="jk-"))
    server = Server(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


class Run(Payload[int], name="run", queue="q"):
    n: int = 0


class ARun(Payload[int], name="arun", queue="q"):
    n: int = 0


def test_no_server_at_the_start(bench: Callable[..., Any], server: Server) -> None:
    """Without a server the start says what to do, and leaves nothing running."""
    b = bench(url=server.url)
    server.kill()
    before = threading.active_count()
    worker = b.worker()
    with pytest.raises(StoreUnavailable, match="Check that the server runs"):
        worker.start()
    assert threading.active_count() == before


def test_outcomes_are_kept_through_an_outage(bench: Callable[..., Any], server: Server, gate: Any) -> None:
    """Results and failures of jobs that end while Redis is away are recorded when it is back; nothing runs twice."""
    b = bench(QueueSpec("q", concurrency=4, retry=Retry(attempts=2, backoff=Fixed(0.01))), url=server.url)
    runs: list[tuple[int, int]] = []

    @processor(Run)
    def run(job: Job[Run]) -> int:
        runs.append((job.payload.n, job.attempt))
        if job.payload.n < 3 and job.attempt == 1:
            gate.enter()
        if job.payload.n == 2 and job.attempt == 1:
            raise ValueError("once")
        return job.payload.n

    b.started(run)
    handles = [b.enqueue(Run(n=n)) for n in range(3)]
    for _ in handles:
        gate.wait_entered()
    server.kill()
    gate.open()
    b.lines.wait_for("cannot record how jobs ended; keeping it and trying again")
    server.start()
    b.lines.wait_for("recording again")
    assert [each.result(10) for each in handles] == [0, 1, 2]
    assert b.enqueue(Run(n=9)).result(10) == 9
    assert sorted(runs) == [(0, 1), (1, 1), (2, 1), (2, 2), (9, 1)]


def test_an_idle_worker_comes_back(bench: Callable[..., Any], server: Server) -> None:
    """A worker that waits for jobs survives an outage, says so once, and claims again."""
    b = bench(url=server.url)

    @processor(ARun)
    async def arun(job: Job[ARun]) -> int:
        return job.payload.n

    b.started(arun)
    assert b.enqueue(ARun(n=1)).result(10) == 1
    server.kill()
    b.lines.wait_for("cannot claim; trying again")
    server.start()
    b.lines.wait_for("claiming again")
    assert b.enqueue(ARun(n=2)).result(10) == 2
    assert b.lines.messages().count("cannot claim; trying again") == 1


def test_an_outage_longer_than_the_lease(bench: Callable[..., Any], server: Server) -> None:
    """A worker that could not renew gives its claims up and cancels its async attempts; their jobs run again."""
    b = bench(url=server.url)
    entered, cancelled = threading.Event(), threading.Event()

    @processor(ARun)
    async def arun(job: Job[ARun]) -> int:
        if job.epoch == 1:
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return job.epoch

    b.started(arun, lease=1.0)
    handle = b.enqueue(ARun())
    assert entered.wait(10)
    server.kill()
    assert cancelled.wait(10)
    assert "no renewal for two thirds of a lease; giving up all claims" in b.lines.messages()
    server.start()
    assert handle.result(15) == 2
    assert handle.status().state is JobState.FINISHED


def test_a_worker_stops_while_redis_is_away(bench: Callable[..., Any], server: Server, gate: Any) -> None:
    """A stop during an outage ends in time; what could not be recorded is left to its lease."""
    b = bench(url=server.url)

    @processor(Run)
    def run(job: Job[Run]) -> int:
        gate.enter()
        return 1

    worker = b.started(run, shutdown_timeout=0.2)
    b.enqueue(Run())
    gate.wait_entered()
    server.kill()
    gate.open()
    b.lines.wait_for("cannot record how jobs ended; keeping it and trying again")
    worker.stop()
    assert worker.join(5)
    assert "outcomes are left to rescue: the server is away and the worker ends" in b.lines.messages()
