"""Ending: what runs may finish, what does not is put back, and nothing is lost."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobkit.container import ContainerView
from jobkit.jobs import Job, JobState
from jobkit.payloads import Payload
from jobkit.policies import Fixed, Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec


class Run(Payload[int], name="run", queue="q"):
    n: int = 0


class ARun(Payload, name="arun", queue="q"):
    pass


def test_running_jobs_finish_and_nothing_is_claimed(bench: Callable[..., Any], gate: Any) -> None:
    """A stop lets running jobs finish, and claims nothing from then on."""
    b = bench(QueueSpec("q", concurrency=1))

    @processor(Run)
    def run(job: Job[Run]) -> int:
        gate.enter()
        return job.payload.n

    worker = b.started(run)
    first = b.enqueue(Run(n=5))
    gate.wait_entered()
    waiting = b.enqueue(Run())
    worker.stop()
    gate.open()
    assert worker.join(10)
    assert first.result(10) == 5
    assert waiting.status().state is JobState.QUEUED
    assert not worker.failed


def test_async_leftovers_are_put_back(bench: Callable[..., Any]) -> None:
    """After the shutdown timeout an async attempt is cancelled and its job put back to the front, uncounted."""
    b = bench(QueueSpec("q", concurrency=2, retry=Retry(attempts=1)))
    entered, cancelled = threading.Event(), threading.Event()

    @processor(ARun)
    async def arun(job: Job[ARun]) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    worker = b.started(arun, shutdown_timeout=0.05)
    handle = b.enqueue(ARun())
    assert entered.wait(10)
    worker.stop()
    assert worker.join(10)
    assert cancelled.is_set()
    status = handle.status()
    assert status.state is JobState.QUEUED
    assert status.attempt == 0
    assert b.redis("LRANGE", "rq:queue:q", 0, -1) == [handle.id.encode()]
    assert b.redis("ZCARD", "rq:jk:lease:q") == 0


def test_threads_of_a_host_keep_their_claim(bench: Callable[..., Any], gate: Any) -> None:
    """Inside a host process a thread goes on: its job is not put back, its lease runs out."""
    b = bench(QueueSpec("q", concurrency=1))

    @processor(Run)
    def run(job: Job[Run]) -> int:
        gate.enter()
        return 1

    worker = b.started(run, shutdown_timeout=0.05)
    handle = b.enqueue(Run())
    gate.wait_entered()
    worker.stop()
    assert worker.join(10)
    assert handle.status().state is JobState.STARTED
    assert b.redis("ZCARD", "rq:jk:lease:q") == 1
    gate.open()


def test_a_second_stop_does_not_wait(bench: Callable[..., Any]) -> None:
    """stop(now=True) ends the waiting for running jobs."""
    b = bench(QueueSpec("q"))
    entered = threading.Event()

    @processor(ARun)
    async def arun(job: Job[ARun]) -> None:
        entered.set()
        await asyncio.Event().wait()

    worker = b.started(arun, shutdown_timeout=60.0)
    handle = b.enqueue(ARun())
    assert entered.wait(10)
    worker.stop()
    assert not worker.join(0.05)
    worker.stop(now=True)
    assert worker.join(10)
    assert handle.status().state is JobState.QUEUED


def test_a_container_that_does_not_close_is_left(bench: Callable[..., Any]) -> None:
    """A container whose closing hangs does not keep the worker from ending."""
    b = bench()
    hang = threading.Event()

    @contextlib.contextmanager
    def container() -> Iterator[ContainerView[None, None, None]]:
        yield ContainerView(domain=None, infrastructure=None, cross_cutting=None)
        hang.wait(30)

    worker = b.started(container=container)
    worker.stop()
    assert worker.join(5)
    assert "the container does not close; leaving it" in b.lines.messages()
    hang.set()


def test_suspension_is_honoured(bench: Callable[..., Any]) -> None:
    """While RQ's suspension is on, nothing starts; when it ends, the queue drains."""
    from rq.suspension import resume, suspend

    b = bench(QueueSpec("q"))
    ran = threading.Event()

    @processor(Run)
    def run(job: Job[Run]) -> int:
        ran.set()
        return 1

    suspend(b.store.client)
    worker = b.started(run)
    looked = threading.Event()
    claim = worker._fetcher._channel.claim

    def looking(*args: Any, **options: Any) -> Any:
        found = claim(*args, **options)
        looked.set()
        return found

    worker._fetcher._channel.claim = looking
    handle = b.enqueue(Run())
    looked.clear()
    assert looked.wait(10)
    assert not ran.is_set()
    assert handle.status().state is JobState.QUEUED
    resume(b.store.client)
    assert handle.result(10) == 1


def test_a_worker_refuses_what_it_cannot_do(bench: Callable[..., Any]) -> None:
    """run() wants the main thread, start() comes once, and a queue has to be declared."""
    from jobkit.errors import UnknownQueue

    b = bench(QueueSpec("mail"))
    with pytest.raises(UnknownQueue, match="did you mean 'mail'"):
        b.worker(names=["mial"])
    worker = b.worker()
    errors: list[Exception] = []

    def elsewhere() -> None:
        try:
            worker.run()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert "main thread" in str(errors[0])
    worker.start()
    with pytest.raises(RuntimeError, match="expected one start"):
        worker.start()


WORKER = """
import sys, threading, time
from typing import Any
from jobkit.config import Settings
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.processing import processor
from jobkit.processors import load_processors
from jobkit.queues import QueueSet, QueueSpec
from jobkit.store import Store
from jobkit.worker.logs import configure_logging
from jobkit.worker.worker import Worker

class Run(Payload[int], name="run", queue="q"):
    n: int = 0

@processor(Run)
def run(job: Job[Run]) -> int:
    print("entered", job.payload.n, flush=True)
    if job.payload.n == 1:      # until it is told to go on
        sys.stdin.readline()
    if job.payload.n == 2:      # for ever, out of reach of any exception
        threading.Event().wait()
    return job.payload.n

settings = Settings(redis_url=sys.argv[1], shutdown_timeout=float(sys.argv[2]), log_format="json")
configure_logging(settings)
queues = QueueSet([QueueSpec("q", concurrency=2, timeout=0.1 if sys.argv[3:] else 60)])
store = Store.open(settings.redis_url)
worker = Worker(store, settings, queues, load_processors([run], entry_points=False), grace=0.1)
print("exit", code := worker.run(), flush=True)
sys.exit(code)
"""


@pytest.fixture
def process(store_url: str, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start worker processes; they are ended after the test."""
    script = tmp_path / "worker_process.py"
    script.write_text(textwrap.dedent(WORKER))
    made: list[subprocess.Popen[str]] = []

    def start(*args: str) -> "subprocess.Popen[str]":
        each = subprocess.Popen(
            [sys.executable, str(script), store_url, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        made.append(each)
        return each

    yield start
    for each in made:
        if each.poll() is None:
            each.kill()
        each.communicate()


def told(process: "subprocess.Popen[str]") -> str:
    """Give the next line that a process prints."""
    assert process.stdout
    return process.stdout.readline().strip()


def test_sigterm_drains_and_exits_0(bench: Callable[..., Any], process: Any) -> None:
    """SIGTERM lets the running job finish, leaves the others queued, and the process exits with 0."""
    b = bench(QueueSpec("q"))
    running = b.enqueue(Run(n=1))
    worker = process("30")
    assert told(worker) == "entered 1"
    worker.send_signal(signal.SIGTERM)
    for line in worker.stderr:
        if "stopping: finishing what runs" in line:
            break
    late = b.enqueue(Run(n=3))
    worker.stdin.write("go\n")
    worker.stdin.flush()
    out, err = worker.communicate(timeout=10)
    assert worker.returncode == 0, err
    assert out == "exit 0\n"
    assert running.result(10) == 1
    assert late.status().state is JobState.QUEUED


def test_a_thread_that_does_not_end_is_put_back(bench: Callable[..., Any], process: Any) -> None:
    """A process of its own puts the job of a stuck thread back, uncounted, and is out in time."""
    b = bench(QueueSpec("q", retry=Retry(attempts=1, backoff=Fixed(0))))
    handle = b.enqueue(Run(n=2))
    worker = process("0.2")
    assert told(worker) == "entered 2"
    worker.send_signal(signal.SIGTERM)
    _, err = worker.communicate(timeout=2.2 + 8)
    assert worker.returncode == 0, err
    assert '"jobs": 1' in err
    status = handle.status()
    assert (status.state, status.attempt) == (JobState.QUEUED, 0)


def test_a_second_signal_puts_back_at_once(bench: Callable[..., Any], process: Any) -> None:
    """With a long shutdown timeout, the second signal ends the waiting."""
    b = bench(QueueSpec("q"))
    handle = b.enqueue(Run(n=2))
    worker = process("600")
    assert told(worker) == "entered 2"
    worker.send_signal(signal.SIGINT)
    for line in worker.stderr:
        if "stopping: finishing what runs" in line:
            break
    worker.send_signal(signal.SIGINT)
    _, err = worker.communicate(timeout=10)
    assert worker.returncode == 0, err
    assert handle.status().state is JobState.QUEUED


def test_half_the_slots_lost_exits_1(bench: Callable[..., Any], process: Any) -> None:
    """A process whose slots are held by attempts that do not end exits with 1."""
    b = bench(QueueSpec("q", retry=Retry(attempts=1)))
    handle = b.enqueue(Run(n=2))
    b.redis("HSET", f"rq:job:{handle.id}", "timeout", "0.1")
    worker = process("1", "short")
    assert told(worker) == "entered 2"
    _, err = worker.communicate(timeout=10)
    assert worker.returncode == 1, err
    assert handle.status().state is JobState.FAILED


def test_a_killed_worker_loses_nothing(bench: Callable[..., Any], process: Any) -> None:
    """After kill -9 the job of the dead worker runs on another, once its lease has run out."""
    b = bench(QueueSpec("q"))
    handle = b.enqueue(Run(n=1))
    worker = process("30")
    assert told(worker) == "entered 1"
    worker.kill()
    worker.wait(10)

    @processor(Run)
    def run(job: Job[Run]) -> int:
        return job.epoch

    b.redis("ZADD", "rq:jk:lease:q", "XX", 1, b.redis("ZRANGE", "rq:jk:lease:q", 0, 0)[0])
    b.started(run)
    assert handle.result(10) == 2
    assert handle.status().attempt == 1
