"""Permits under a worker: jobs wait for them, and can be interrupted while they do."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from jobkit.errors import JobFailed
from jobkit.jobs import Job
from jobkit.limits import RateLimit
from jobkit.payloads import Payload
from jobkit.policies import Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec


class Call(Payload, name="call", queue="q"):
    pass


class CallLater(Payload, name="call.async", queue="q"):
    pass


def test_permits_are_exact_over_workers(bench: Callable[..., Any]) -> None:
    """Two workers with plain and async jobs get no more permits in any window than it admits, and all get theirs."""
    b = bench(QueueSpec("q", concurrency=4))
    limit = RateLimit(3, per=0.05)

    @processor(Call)
    def call(job: Job[Call]) -> None:
        job.permit(limit, name="crm")

    @processor(CallLater)
    async def call_later(job: Job[CallLater]) -> None:
        await job.apermit(limit, name="crm")

    granted = Window(b, "rq:jk:win:permit/crm")
    handles = b.enqueue_many([Call() if n % 2 else CallLater() for n in range(24)])
    b.started(call, call_later)
    b.started(call, call_later)
    for handle in handles:
        handle.result(10)
        granted.look()
    assert all(later - first >= 50 for first, later in granted.pairs(3))


class Window:
    """What a window remembers, seen often enough to put its times together."""

    def __init__(self, bench: Any, key: str) -> None:
        self._bench = bench
        self._key = key
        self._seen: list[list[int]] = []

    def look(self) -> None:
        """Look once."""
        self._seen.append([int(each) for each in self._bench.redis("LRANGE", self._key, 0, -1)])

    def pairs(self, apart: int) -> list[tuple[int, int]]:
        """Neighbours that were `apart` permits from each other, the older first: none where the window held fewer."""
        times = sorted(set(itertools.chain(*self._seen)))
        return [(each[-1], newer) for each in self._seen if len(each) == apart for newer in times if newer > each[0]]


@pytest.mark.parametrize("looping", ["thread", "loop"])
def test_the_wait_ends_with_the_timeout(bench: Callable[..., Any], looping: str) -> None:
    """An attempt that waits for a permit ends at its timeout as any other does."""
    b = bench(QueueSpec("q", timeout=0.3, retry=Retry(attempts=1)))
    limit = RateLimit(1, per=3600)

    @processor(Call)
    def call(job: Job[Call]) -> None:
        job.permit(limit, name="crm")
        job.permit(limit, name="crm")

    @processor(CallLater)
    async def call_later(job: Job[CallLater]) -> None:
        await job.apermit(limit, name="crm")
        await job.apermit(limit, name="crm")

    b.started(call, call_later)
    with pytest.raises(JobFailed, match="longer than its timeout"):
        b.enqueue(Call() if looping == "thread" else CallLater()).result(10)
    assert b.redis("LLEN", "rq:jk:win:permit/crm") == 1
