"""Jobs that a service refused, under a worker."""

from collections.abc import Callable
from typing import Any

import pytest

from jobkit.jobs import Job
from jobkit.limits import RateLimit
from jobkit.payloads import Payload
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from jobkit.results import JobResult


class Push(Payload, name="push", queue="q"):
    tenant: str = ""


@pytest.mark.parametrize("limit", [None, RateLimit(1000, per=1, key="tenant")], ids=["plain", "keyed"])
def test_a_refused_job_comes_back_to_its_place(bench: Callable[..., Any], limit: RateLimit | None) -> None:
    """A job that was refused holds the others under its limit, then runs first, with no attempt used."""
    b = bench(QueueSpec("q", concurrency=1, rate_limit=limit))
    seen: list[tuple[str, int, int]] = []

    @processor(Push)
    def push(job: Job[Push]) -> JobResult[None]:
        seen.append((job.id, job.attempt, job.epoch))
        if len(seen) == 1:
            return job.rate_limited(retry_after=0.05, reason="429 Too Many Requests")
        return JobResult.completed()

    first, second = b.enqueue(Push()), b.enqueue(Push())
    b.started(push)
    first.result(10)
    second.result(10)
    assert seen == [(first.id, 1, 1), (first.id, 1, 2), (second.id, 1, 1)]
    assert b.lines.wait_for("job put off", job_id=first.id).reason == "429 Too Many Requests"


def test_other_keys_go_on(bench: Callable[..., Any]) -> None:
    """While one key is parked, jobs of another run."""
    b = bench(QueueSpec("q", rate_limit=RateLimit(1000, per=1, key="tenant")))

    @processor(Push)
    def push(job: Job[Push]) -> JobResult[None]:
        return job.rate_limited(retry_after=3600) if job.payload.tenant == "t_1" else JobResult.completed()

    b.started(push)
    refused = b.enqueue(Push(tenant="t_1"))
    b.lines.wait_for("job put off", job_id=refused.id)
    behind = b.enqueue(Push(tenant="t_1"))
    b.enqueue(Push(tenant="t_2")).result(10)
    assert [each.status().state for each in (refused, behind)] == ["queued", "queued"]
    assert behind.status().attempt == 0
