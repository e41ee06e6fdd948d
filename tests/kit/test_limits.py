"""Limits end to end: declared on queues and payloads, kept by workers, told apart by the payloads' fields."""

import threading
from collections import defaultdict
from typing import Any

import pytest

from jobkit import (
    DeclarationError,
    Job,
    JobKit,
    MaxRunning,
    Payload,
    Priority,
    QueueSpec,
    RateLimit,
    Settings,
    processor,
)
from tests.kit.app import NEVER_LONG

PER = 0.4


class Push(Payload, name="push.it", queue="push"):
    who: str


class Sync(Payload, name="sync.it", queue="sync", mutex="dir:{who}"):
    who: str
    n: int = 0


@processor(Push)
def push(job: Job[Push]) -> None:
    """Nothing."""


def most_in(times: list[float], per: float) -> int:
    """The most of these times that any window holds."""
    return max(sum(begin <= other < begin + per for other in times) for begin in times)


def test_rates_are_kept_and_used(store_url: str) -> None:
    """No window holds more than its rate says, of the queue or of a key, and no permit waits for long."""
    queue = QueueSpec("push", rate_limit=[RateLimit(6, per=PER), RateLimit(2, per=PER, key="who")], fair_by="who")
    jobs = 48
    with JobKit(Settings(redis_url=store_url), queues=[queue], processors=[push]).running() as kit:
        handles = kit.enqueue_many([Push(who=f"w{n % 4}") for n in range(jobs)])
        for handle in handles:
            handle.result(NEVER_LONG)
        begun: dict[str, list[float]] = defaultdict(list)
        for n, handle in enumerate(handles):
            started = handle.status().started_at
            assert started is not None
            # Whole ms: a float of the unix time has not enough digits for the sum of a time and a window.
            begun[f"w{n % 4}"].append(round(started.timestamp() * 1000))
    every = [at for each in begun.values() for at in each]
    assert most_in(every, PER * 1000) <= 6
    assert all(most_in(each, PER * 1000) <= 2 for each in begun.values())
    least = (jobs / 6 - 1) * PER * 1000
    assert max(every) - min(every) <= 2 * least


def test_a_mutex_and_places(store_url: str) -> None:
    """Of one mutex one job runs at a time, in order; of one key as many as it has places, and no more."""
    lock = threading.Lock()
    running: dict[str, int] = defaultdict(int)
    most: dict[str, int] = defaultdict(int)
    seen: dict[str, list[int]] = defaultdict(list)
    meet = threading.Event()

    def within(name: str, n: int) -> None:
        with lock:
            seen[name].append(n)
            running[name] += 1
            most[name] = max(most[name], running[name])
        meet.wait(0.005)  # so that others may meet it
        with lock:
            running[name] -= 1

    @processor(Sync)
    def sync(job: Job[Sync]) -> None:
        within(f"mutex {job.payload.who}", job.payload.n)

    @processor(Push)
    def push_slowly(job: Job[Push]) -> None:
        within(f"push {job.payload.who}", 0)

    queues = [QueueSpec("push", max_running=MaxRunning(2, key="who")), QueueSpec("sync")]
    kit = JobKit(Settings(redis_url=store_url), queues=queues, processors=[sync, push_slowly])
    with kit.running():
        payloads: list[Any] = [Sync(who=f"w{n % 2}", n=n) for n in range(40)]
        payloads += [Push(who=f"w{n % 2}") for n in range(40)]
        for handle in kit.enqueue_many(payloads):
            handle.result(NEVER_LONG)
    assert most["mutex w0"] == most["mutex w1"] == 1
    assert most["push w0"] == most["push w1"] == 2
    assert seen["mutex w0"] == list(range(0, 40, 2))


def test_priorities_are_asked_for(store_url: str) -> None:
    """A priority is refused where its queue has none, and followed where it has."""
    order: list[str] = []

    @processor(Push)
    def note(job: Job[Push]) -> None:
        order.append(job.payload.who)

    plain = JobKit(Settings(redis_url=store_url), queues=[QueueSpec("push")])
    with plain, pytest.raises(DeclarationError, match="add QueueSpec"):
        plain.enqueue(Push(who="x"), priority=Priority.HIGH)
    queue = QueueSpec("push", ageing=600, concurrency=1)
    with JobKit(Settings(redis_url=store_url), queues=[queue], processors=[note]) as kit:
        handles = [
            kit.enqueue(Push(who=each.value), priority=each) for each in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
        ]
        with kit.running():
            for handle in handles:
                handle.result(NEVER_LONG)
    assert order == ["high", "normal", "low"]
