"""Vanilla jobs in a queue whose jobs run in processes of their own."""

import os
from collections.abc import Callable, Iterator

import pytest
import rq
from redis import Redis

from jobkit import JobFailed
from jobkit.queues import QueueSpec
from tests.rq.conftest import FUNCTIONS, Bench, Side, add


@pytest.fixture
def isolated(bench: Callable[..., Bench], store_url: str) -> Iterator[Side]:
    """Give both sides of an isolated queue, with a worker."""
    made = bench(QueueSpec("q", isolation="process", concurrency=1))
    redis = Redis.from_url(store_url)
    side = Side(made, redis)
    side.start(processor=add)
    yield side
    redis.close()


def test_runs_in_a_child(isolated: Side) -> None:
    """Function, current job, callbacks, retries and failures are as in a thread, in another process."""
    job = isolated.enqueue("pid", on_success=rq.Callback(f"{FUNCTIONS}.succeeded"))
    assert isolated.result(job.id) != os.getpid()
    assert isolated.told() == [f"success {job.id} {isolated.result(job.id)}"]
    again = isolated.enqueue("again", 1)
    with pytest.raises(JobFailed, match="after 1 retries, of 1"):
        isolated.result(again.id)
    failing = isolated.enqueue("fail", on_failure=rq.Callback(f"{FUNCTIONS}.failed"))
    assert isolated.told() == [f"failure {failing.id} ValueError: no"]
    with pytest.raises(JobFailed, match="ValueError"):
        isolated.result(failing.id)


def test_a_killed_attempt_tells_nobody(isolated: Side) -> None:
    """An attempt that is killed at its timeout fails as RQ's terms say, and its callbacks are not called."""
    job = isolated.enqueue("spin", 30, job_timeout=1, failure_ttl=77, on_failure=rq.Callback(f"{FUNCTIONS}.failed"))
    with pytest.raises(JobFailed, match="timeout"):
        isolated.result(job.id)
    assert 70 < isolated.redis.ttl(job.key) <= 77
    assert isolated.redis.lrange("told", 0, -1) == [b"spinning"]
