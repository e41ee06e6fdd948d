"""What a job in a child process can do: all that it can in a thread."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from jobkit.errors import JobFailed, JobkitError
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.policies import Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from tests.isolation.conftest import TWICE
from tests.isolation.jobs import ARun, Run, Viewed, arun, container, run, viewed


class Here(Payload[int], name="iso.here", queue="w"):
    """Give the process's id."""


def test_plain_and_async_run_in_a_child(isolated: Callable[..., Any]) -> None:
    """Plain and async processors run in a child process, which is kept for the next job."""
    b = isolated(concurrency=1)
    b.start()
    pids = {b.result(Run()), b.result(ARun()), b.result(ARun(what="step")), b.result(Run())}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_steps_outlive_the_child(isolated: Callable[..., Any]) -> None:
    """A step that a child kept before it was killed is not run again; the retry runs in another child."""
    b = isolated(retry=TWICE)
    b.start()
    handle = b.enqueue(Run(what="step"))
    first = handle.result(10)
    assert b.result(Run()) != first
    assert handle.status().attempt == 2
    assert "SIGKILL" in b.lines.wait_for("job failed").error


def test_progress_and_enqueue(isolated: Callable[..., Any]) -> None:
    """A job's progress and the jobs it enqueues are written by the child, under the worker's claim."""
    b = isolated()
    b.start()
    handle = b.enqueue(Run(what="enqueue"))
    handle.result(10)
    assert handle.status().progress.percent == 50
    b.lines.wait_for("job finished", times=2)


def test_limits_of_others(isolated: Callable[..., Any]) -> None:
    """A child counts permits, and a service that refused its job parks the queue."""
    b = isolated()
    b.start()
    handle = b.enqueue(Run(what="limited"))
    assert b.lines.wait_for("job put off", job_id=handle.id).reason == "429"
    assert b.bench.redis("LLEN", "rq:jk:win:permit/crm") == 1
    assert b.bench.redis("PTTL", "rq:jk:until:q") > 0
    assert handle.status().state == "queued"


def test_outcomes(isolated: Callable[..., Any]) -> None:
    """Snoozes, failures and unrecoverable failures are recorded as those of threads are, with the job's traceback."""
    b = isolated(retry=TWICE)
    b.start()
    assert b.result(Run(what="snooze"))
    failing, hopeless = b.enqueue(Run(what="raise")), b.enqueue(Run(what="unrecoverable"))
    with pytest.raises(JobFailed, match="ValueError: not today"):
        failing.result(10)
    with pytest.raises(JobFailed, match="never"):
        hopeless.result(10)
    assert (failing.status().attempt, hopeless.status().attempt) == (2, 1)
    assert "tests/isolation/jobs.py" in b.lines.wait_for("job failed").error


def test_hooks(isolated: Callable[..., Any]) -> None:
    """Hooks get the job, its result with its follow-ups, and the error; one that cannot travel is told by its text."""
    b = isolated()
    told: list[Any] = []
    b.start(on_completed=lambda job, result: told.append((job, result)), on_failed=lambda *what: told.append(what))
    for what in ("follow", "raise", "odd", "exit"):
        b.enqueue(Run(what=what))
    worker = b.bench.workers[0]
    b.lines.wait_for("job failed", times=3)
    b.lines.wait_for("job finished", times=2)
    b.bench.ended(worker)
    by = {job.payload.what: end for job, end in told if isinstance(job.payload, Run)}
    assert len(told) == 5
    assert isinstance(by["follow"].value, int)
    assert by["follow"].then == (ARun(),)
    assert isinstance(by["raise"], ValueError)
    assert type(by["odd"]) is JobkitError
    assert "Odd: odd 1 2" in str(by["odd"])
    assert "exit status 3" in str(by["exit"])


def test_backoff_of_the_queue(isolated: Callable[..., Any]) -> None:
    """A queue's function for its waits need not travel: the worker calls it."""
    asked: list[int] = []
    b = isolated(retry=Retry(attempts=3, backoff=lambda failed: asked.append(failed) or 0.0))
    b.start()
    with pytest.raises(JobFailed):
        b.enqueue(Run(what="raise")).result(10)
    assert asked == [1, 2]


def test_container_of_the_child(isolated: Callable[..., Any]) -> None:
    """A container is opened once a child, on its event loop, closed when the worker ends, and never in the worker."""
    b = isolated(concurrency=1)
    worker = b.start(viewed, container=container)
    seen = [b.result(Viewed(url=b.bench.url)) for _ in range(2)]
    assert seen[0] == seen[1]
    assert seen[0][0] == seen[0][1] != os.getpid()
    b.bench.ended(worker)
    assert b.bench.redis("LRANGE", "closed", 0, -1) == [str(seen[0][0]).encode()]


def test_connections_are_the_childs_own(isolated: Callable[..., Any]) -> None:
    """A child writes over a connection that it opened itself, when it first needed one."""
    b = isolated(concurrency=1)
    b.start()
    b.result(Run())
    before = {each["id"] for each in b.bench.store.client.client_list()}
    mine = b.result(Run(what="connection"))
    assert str(mine) not in before
    assert mine == b.result(Run(what="connection"))


def test_threads_and_processes_together(isolated: Callable[..., Any]) -> None:
    """A worker may serve isolated queues beside others, whose processors need not travel."""
    b = isolated(beside=[QueueSpec("w")])

    @processor(Here)
    def here(job: Job[Here]) -> int:
        return os.getpid()

    b.start(run, here)
    assert b.result(Run()) != os.getpid()
    assert b.result(Here()) == os.getpid()


def test_async_jobs_in_children_beside_others_on_the_loop(isolated: Callable[..., Any]) -> None:
    """An async job that ends in a child is recorded as one of a child: the loop here has its own."""
    b = isolated(beside=[QueueSpec("w")])

    @processor(Here)
    async def here(job: Job[Here]) -> int:
        return os.getpid()

    b.start(arun, here)
    for _ in range(3):
        assert b.result(Here()) == os.getpid()
        assert b.result(ARun()) != os.getpid()


def test_jobs_of_rq_clients(isolated: Callable[..., Any]) -> None:
    """A job of a plain RQ client runs in a child too."""
    from rq import Queue

    b = isolated()
    b.start(rq_functions=("os.*",))
    job = Queue("q", connection=b.bench.store.client, serializer="json").enqueue("os.getpid")
    assert b.bench.client.known(job.id, None).result(10) != os.getpid()
