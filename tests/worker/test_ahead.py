"""Claiming ahead: how much, who may run, and what is given back."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobkit.jobs import Job, JobState
from jobkit.payloads import Payload
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from jobkit.store.records import Claimed
from jobkit.worker.ahead import GiveBack, Pace
from jobkit.worker.attempt import Attempt
from jobkit.worker.permits import Permits
from jobkit.worker.slots import Slots


class Quick(Payload, name="quick", queue="q"):
    n: int = 0


class AQuick(Payload, name="aquick", queue="q"):
    n: int = 0


def attempts(queue: str, number: int) -> list[Attempt]:
    """Make attempts of one queue."""
    return [Attempt(Claimed(queue, f"{queue}{n}", f"t{n}", b"", b"", None, 0, 1, 0, 0, "")) for n in range(number)]


def test_short_jobs_are_claimed_ahead_and_long_ones_not() -> None:
    """As many as end during one call, at most as many as there are slots; none for jobs that take long."""
    pace = Pace({"q": 10, "slow": 10})
    assert pace.ahead() == {"q": 0, "slow": 0}
    now = time.monotonic()
    for n in range(100):
        at = now + n * 0.002
        pace.record({"q": 10, "slow": 1 if n == 50 else 0}, at, at + 0.001)
    assert pace.ahead() == {"q": 5, "slow": 0}
    for n in range(100):
        at = now + 1 + n * 0.002
        pace.record({"q": 100}, at, at + 0.001)
    assert pace.ahead()["q"] == 10
    pace.slow("q")
    assert pace.ahead()["q"] == 0


def test_permits_hold_a_queue_to_its_concurrency() -> None:
    """What is over the concurrency waits, and begins when one of its queue ends; other queues are apart."""
    permits = Permits({"a": 2, "b": 1})
    a, b = attempts("a", 4), attempts("b", 1)
    now, later = permits.admit([*a, *b])
    assert now == [a[0], a[1], b[0]]
    assert later == [a[2], a[3]]
    assert permits.pass_on("b") is None
    assert permits.pass_on("a") is a[2]
    assert permits.take_back([a[2], a[3]]) == [a[3]]
    assert permits.pass_on("a") is None
    assert permits.admit(a[:1]) == (a[:1], [])


def test_closed_permits_let_nobody_begin() -> None:
    """Once closed, those that waited are handed back and no permit is passed on."""
    permits = Permits({"a": 1})
    a = attempts("a", 3)
    permits.admit(a[:2])
    assert permits.close() == [a[1]]
    assert permits.pass_on("a") is None
    assert permits.admit([a[2]]) == ([], [a[2]])


def test_slots_for_jobs_ahead_come_and_go() -> None:
    """More slots are claimed for at once; fewer means that the next that end are not used again."""
    slots = Slots({"q": 2})
    slots.reserve()
    slots.settle({"q": 2})
    assert slots.reuse({"q": 1}, {"q": 2}) == {"q": 3}
    assert slots.busy() == 4
    assert slots.reuse({"q": 1}, {"q": 0}) == {}
    assert slots.busy() == 3
    assert slots.reuse({"q": 2}, {"q": 0}) == {"q": 1}
    assert slots.busy() == 2
    slots.release({"q": 2})
    assert slots.wait_idle(0)
    assert slots.reserve() == {"q": 2}


def test_what_does_not_begin_is_given_back() -> None:
    """What waits longer than the bound is given back; what has begun is not."""
    back: list[Attempt] = []
    done = threading.Event()

    def give_back(late: Any) -> None:
        back.extend(late)
        done.set()

    part = GiveBack(give_back, on_crash=pytest.fail, within=0.01)
    part.start()
    begun, late = attempts("q", 2)
    begun.began = 1.0
    part.watch([begun, late])
    assert done.wait(10)
    part.stop()
    assert part.join(10)
    assert back == [late]


def test_a_long_job_does_not_hold_up_what_was_claimed_with_it(bench: Callable[..., Any], gate: Any) -> None:
    """A job that was claimed ahead and cannot begin goes back to the front of its queue, uncounted."""
    b = bench(QueueSpec("q", concurrency=1))

    @processor(Quick)
    def quick(job: Job[Quick]) -> None:
        if job.payload.n:
            gate.enter()

    worker = b.worker(quick)
    worker.start()
    pace = worker._dispatch.pace
    pace._rates["q"] = pace._round_trip = pace._last = 1e9
    first, second = b.enqueue_many([Quick(), Quick(n=1)])
    third = b.enqueue(Quick())
    gate.wait_entered()
    first.result(10)
    # It is claimed ahead with the end of the first, at the latest; whether it was or not, it is queued in the end.
    worker._dispatch.return_unbegun(worker._held.all())
    assert second.status().state is JobState.STARTED
    status = third.status()
    assert (status.state, status.attempt) == (JobState.QUEUED, 0)
    gate.open()
    third.result(10)


@pytest.mark.parametrize("slots", [1, 3])
def test_the_concurrency_is_never_exceeded(bench: Callable[..., Any], slots: int) -> None:
    """However fast jobs come, plain and async ones of a queue together keep to its concurrency."""
    b = bench(QueueSpec("q", concurrency=slots))
    gate, running, most, done = threading.Lock(), [0], [0], threading.Event()
    ended: list[int] = []

    def count(change: int) -> None:
        with gate:
            running[0] += change
            most[0] = max(most[0], running[0])

    @processor(Quick)
    def quick(job: Job[Quick]) -> None:
        count(1)
        sum(range(200))
        count(-1)

    @processor(AQuick)
    async def aquick(job: Job[AQuick]) -> None:
        count(1)
        sum(range(200))
        count(-1)

    def on_completed(*_: Any) -> None:
        ended.append(1)
        if len(ended) == 600:
            done.set()

    b.enqueue_many([Quick(n=n) if n % 3 else AQuick(n=n) for n in range(600)])
    worker = b.started(quick, aquick, on_completed=on_completed)
    assert done.wait(20)
    b.ended(worker)
    assert most[0] <= slots
    assert worker._slots.busy() == 0
