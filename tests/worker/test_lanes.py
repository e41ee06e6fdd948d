"""Attempts that end on the event loop, recorded from there: over lanes, and by the finisher where a lane cannot."""

import asyncio
import queue
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from redis.connection import UnixDomainSocketConnection

from jobkit.errors import JobFailed, UnsuitableServer
from jobkit.jobs import Job, JobState
from jobkit.payloads import Payload
from jobkit.policies import Fixed, Retry
from jobkit.processing import Processor, processor
from jobkit.queues import QueueSpec
from jobkit.store.channel import ClaimChannel
from jobkit.store.lane import Lane
from tests.worker.conftest import PATIENCE, Bench

pytestmark = pytest.mark.usefixtures("both_loops")


class Go(Payload[int], name="go", queue="q"):
    n: int = 0


class Plain(Payload[int], name="plain", queue="q"):
    n: int = 0


class Unknown(Payload, name="unknown", queue="q"):
    pass


@attrs.define
class Traffic:
    """What goes over lanes. `on_call` is asked, on the loop, before each call, with its number (from 1)."""

    opened: queue.SimpleQueue[Lane] = attrs.field(factory=queue.SimpleQueue)
    calls: list[int] = attrs.field(factory=list)
    settled: list[ClaimChannel] = attrs.field(factory=list)
    on_call: Callable[[int], None] = lambda _: None

    def wait_opened(self, worker: Any, lanes: int = 2) -> None:
        for _ in range(lanes):
            self.opened.get(timeout=PATIENCE)

        async def opening() -> None:
            await worker._lanes._task

        worker._loop.call(opening())


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Give what goes over lanes, as signals."""
    traffic = Traffic()
    made, advance, settle = Lane.connection_made, Lane.advance, ClaimChannel.settle

    def connection_made(lane: Lane, transport: Any) -> None:
        made(lane, transport)
        traffic.opened.put(lane)

    def noted(lane: Lane, finished: Any, wants: Any) -> None:
        traffic.calls.append(len(finished))
        traffic.on_call(len(traffic.calls))
        advance(lane, finished, wants)

    def settled(channel: ClaimChannel) -> Any:
        traffic.settled.append(channel)
        return settle(channel)

    monkeypatch.setattr(Lane, "connection_made", connection_made)
    monkeypatch.setattr(Lane, "advance", noted)
    monkeypatch.setattr(ClaimChannel, "settle", settled)
    return traffic


class Crowd:
    """Async and plain jobs that count their runs, and how many of them run at once."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.most = 0
        self._running = 0
        self._gate = threading.Lock()
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def processors(self) -> list[Processor[Any, ..., Any]]:
        @processor(Go)
        async def go(job: Job[Go]) -> int:
            self._count(job.id, 1)
            if job.payload.n % 3 == 0:
                await asyncio.sleep(0)  # reason: one turn of the loop
            self._count(job.id, -1)
            return job.payload.n

        @processor(Plain)
        def plain(job: Job[Plain]) -> int:
            self._count(job.id, 1)
            self._count(job.id, -1)
            return job.payload.n

        return [go, plain]

    def on_completed(self, job: Job[Any], _: Any) -> None:
        self._told.put(job.id)

    def wait_completed(self, number: int) -> set[str]:
        return {self._told.get(timeout=PATIENCE) for _ in range(number)}

    def _count(self, job_id: str, change: int) -> None:
        with self._gate:
            self.runs[job_id] += change > 0
            self._running += change
            self.most = max(self.most, self._running)


def states(b: Bench) -> Counter[str]:
    """How many jobs there are in each state."""
    keys: list[bytes] = b.redis("KEYS", "rq:job:*")
    return Counter(b.redis("HGET", key, "status").decode() for key in keys)


def lane_replies(b: Bench, worker: Any) -> list[bytes]:
    """The reply keys of a worker's lanes."""
    found: list[bytes] = b.redis("KEYS", f"rq:jk:reply:{worker.name}:lane-*")
    return found


def all_once(b: Bench, worker: Any, crowd: Crowd, number: int) -> None:
    """Every job ran once and is finished, nobody holds anything, and the slots are free."""
    b.ended(worker)
    assert not worker.failed
    assert crowd.runs == Counter(dict.fromkeys(crowd.runs, 1))
    assert states(b) == {"finished": number}
    assert worker._slots.busy() == 0
    assert len(worker._held) == 0
    assert crowd.most <= worker._slots.total
    assert b.redis("KEYS", "rq:jk:lease:*") == []


def test_async_jobs_are_recorded_over_lanes(bench: Callable[..., Any], traffic: Traffic) -> None:
    """What ends on the loop is recorded by the lanes' calls, and no other."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    worker = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=n) for n in range(100)])
    assert len(crowd.wait_completed(100)) == 100
    assert sum(traffic.calls) == 100
    assert f"rq:jk:reply:{worker.name}:lane-0".encode() in lane_replies(b, worker)
    assert traffic.settled == []
    all_once(b, worker, crowd, 100)


@pytest.mark.parametrize("how", ["kill", "kill everybody", "NOSCRIPT", "READONLY", "NOREPLICAS", "closed"])
def test_a_lane_that_breaks_loses_nothing(bench: Callable[..., Any], traffic: Traffic, how: str) -> None:
    """Cut off or refused in the midst of it, calls are settled by the finisher, jobs run once, and lanes come back."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    disturbances = {
        "kill": ["CLIENT KILL TYPE normal SKIPME yes"],
        "kill everybody": ["CLIENT KILL TYPE normal SKIPME yes", "CLIENT KILL TYPE pubsub"],
        "NOSCRIPT": ["SCRIPT FLUSH SYNC"],
        "READONLY": ["REPLICAOF localhost 1"],
        "NOREPLICAS": ["CONFIG SET min-replicas-to-write 1"],
    }
    worker = b.worker(*crowd.processors(), on_completed=crowd.on_completed)
    one_at_a_time = threading.Lock()  # the loop disturbs, the test mends: what is mended stays so
    calls = {5, 6}

    def disturb(number: int) -> None:
        with one_at_a_time:
            if number not in calls:
                return
            if how == "closed":
                for lane in worker._lanes._lanes:
                    lane._transport.abort()
            for each in disturbances.get(how, []):
                b.redis(*each.split())

    worker.start()
    traffic.wait_opened(worker)
    traffic.on_call = disturb
    b.enqueue_many([Go(n=n) for n in range(300)])
    if how in {"READONLY", "NOREPLICAS"}:
        b.lines.wait_for("cannot record how jobs ended; keeping it and trying again")
        with one_at_a_time:
            calls.clear()
            b.redis("REPLICAOF", "NO", "ONE")
            b.redis("CONFIG", "SET", "min-replicas-to-write", "0")
        b.lines.wait_for("recording again")
    assert len(crowd.wait_completed(300)) == 300
    assert traffic.settled
    traffic.wait_opened(worker, 1)
    before = sum(traffic.calls)
    b.enqueue_many([Go(n=n) for n in range(20)])
    assert len(crowd.wait_completed(20)) == 20
    assert sum(traffic.calls) > before
    all_once(b, worker, crowd, 320)


def test_a_late_answer_is_asked_for_again(bench: Callable[..., Any], traffic: Traffic) -> None:
    """A server that stands still for longer than the timeout is asked again by the finisher, for the same call."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    b.store.socket_timeout = 0.1  # for the lanes: connections were told another

    def stall(number: int) -> None:
        if number == 3:
            b.redis("CLIENT", "PAUSE", "600", "ALL")

    worker = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    traffic.wait_opened(worker)
    traffic.on_call = stall
    b.enqueue_many([Go(n=n) for n in range(200)])
    assert len(crowd.wait_completed(200)) == 200
    assert traffic.settled
    all_once(b, worker, crowd, 200)


def test_a_connection_that_ends_while_it_opens(
    bench: Callable[..., Any], traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that is lost as soon as it is there is none: it is opened again, and nothing waits for it."""
    monkeypatch.setenv("JOBKIT_EVENT_LOOP", "asyncio")  # uvloop leaves a socket that ends so early to the collector
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    made, lost = Lane.connection_made, iter([True, True])

    def at_once(lane: Lane, transport: Any) -> None:
        made(lane, transport)
        if next(lost, False):
            transport.abort()
            lane.connection_lost(None)

    monkeypatch.setattr(Lane, "connection_made", at_once)
    worker = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=n) for n in range(50)])
    assert len(crowd.wait_completed(50)) == 50
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=n) for n in range(50)])
    assert len(crowd.wait_completed(50)) == 50
    assert traffic.calls
    all_once(b, worker, crowd, 100)


def test_a_call_that_is_refused_for_good(bench: Callable[..., Any], traffic: Traffic) -> None:
    """Where a lane's call fails each time (what it keeps there is spoilt), its jobs are recorded one by one."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    worker = b.worker(*crowd.processors(), on_completed=crowd.on_completed)

    def spoil(number: int) -> None:
        if number == 3:
            for lane in range(2):
                key = b.store.keys.reply(f"{worker.name}:lane-{lane}")
                b.redis("DEL", key)
                b.redis("SET", key, "no reply")

    traffic.on_call = spoil
    worker.start()
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=n) for n in range(100)])
    assert len(crowd.wait_completed(100)) == 100
    b.lines.wait_for("a batch cannot be recorded; trying one by one")
    all_once(b, worker, crowd, 100)


def test_what_cannot_be_sent_is_left_to_the_finisher(
    bench: Callable[..., Any], traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error on the loop while a call is made loses no attempt and no slot."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    begin = ClaimChannel.begin

    def refuse(channel: ClaimChannel, *call: Any) -> bytes:
        if len(traffic.calls) in {2, 3}:
            raise ValueError("not today")
        return begin(channel, *call)

    monkeypatch.setattr(ClaimChannel, "begin", refuse)
    worker = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=n) for n in range(100)])
    assert len(crowd.wait_completed(100)) == 100
    b.lines.wait_for("a lane cannot send its call; the finisher does")
    all_once(b, worker, crowd, 100)


def test_an_answer_that_cannot_be_read(
    bench: Callable[..., Any], traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error on the loop while an answer is read has the finisher ask again."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    complete, faults = ClaimChannel.complete, iter([False, True])

    def fail(channel: ClaimChannel, reply: Any) -> Any:
        return complete(channel, None if next(faults, False) else reply)

    monkeypatch.setattr(ClaimChannel, "complete", fail)
    worker = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=n) for n in range(100)])
    assert len(crowd.wait_completed(100)) == 100
    b.lines.wait_for("a lane's answer cannot be read; the finisher asks again")
    assert traffic.settled
    all_once(b, worker, crowd, 100)


def test_the_end_with_calls_under_way(bench: Callable[..., Any], traffic: Traffic) -> None:
    """A worker that ends at once while its calls are unanswered records them, and puts back what they claimed."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    worker = b.worker(*crowd.processors())
    paused = threading.Event()

    def pause(number: int) -> None:
        if number == 4:
            b.redis("CLIENT", "PAUSE", "400", "ALL")
            paused.set()

    traffic.on_call = pause
    worker.start()
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=n) for n in range(200)])
    assert paused.wait(PATIENCE)
    worker.stop(now=True)
    assert worker.join(PATIENCE)
    found = states(b)
    assert found.keys() <= {"finished", "queued"}
    assert found["finished"] >= sum(traffic.calls[:4])
    second = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    crowd.wait_completed(found["queued"])
    b.ended(second)
    assert states(b) == {"finished": 200}


def test_the_end_with_a_blocked_loop(
    bench: Callable[..., Any], traffic: Traffic, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that a processor blocks holds up neither the worker's end, nor the record of what had ended on it."""
    monkeypatch.setenv("JOBKIT_EVENT_LOOP", "asyncio")  # uvloop may read the answer before it runs what blocks it
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()

    def block(number: int) -> None:
        if number == 1:
            asyncio.get_running_loop().call_soon(gate.enter)

    traffic.on_call = block
    worker = b.worker(*crowd.processors())
    worker.start()
    traffic.wait_opened(worker)
    b.enqueue_many([Go(n=1) for _ in range(40)])
    gate.wait_entered()
    worker.stop(now=True)
    assert worker.join(PATIENCE)
    assert traffic.settled
    found = states(b)
    assert found["finished"] == traffic.calls[0]
    assert found.keys() <= {"finished", "queued"}
    gate.open()
    assert worker._loop.join(PATIENCE)
    second = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    crowd.wait_completed(found["queued"])
    all_once(b, second, crowd, 40)


def test_a_stop_while_lanes_open(bench: Callable[..., Any], traffic: Traffic) -> None:
    """A worker may end at once after its start: the lanes are closed wherever their opening has come to."""
    b, crowd = bench(), Crowd()
    for _ in range(5):
        worker = b.started(*crowd.processors())
        b.ended(worker)
        assert not worker._lanes._lanes
        assert worker._loop.join(0)


class OwnSocket(socket.socket):
    """A socket that an event loop cannot take over, as one of TLS."""


class OwnConnection(UnixDomainSocketConnection):
    """A connection over such a socket."""

    def _connect(self) -> Any:
        plain: socket.socket = super()._connect()  # type: ignore[no-untyped-call]
        timeout = plain.gettimeout()
        own = OwnSocket(fileno=plain.detach())
        own.settimeout(timeout)
        return own


@pytest.mark.parametrize("why", ["no hiredis", "no plain socket"])
def test_without_lanes(bench: Callable[..., Any], traffic: Traffic, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Where lanes cannot be, the finisher records everything."""
    b, crowd = bench(QueueSpec("q", concurrency=4)), Crowd()
    if why == "no hiredis":
        monkeypatch.setattr("jobkit.store.lane.make_reader", None)
    else:
        b.store.client.connection_pool.connection_class = OwnConnection
    worker = b.started(*crowd.processors(), on_completed=crowd.on_completed)
    b.enqueue_many([Go(n=n) for n in range(100)])
    assert len(crowd.wait_completed(100)) == 100
    assert (traffic.calls, lane_replies(b, worker)) == ([], [])
    assert not worker._lanes._down
    all_once(b, worker, crowd, 100)


def test_refused_lanes(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """A server that refuses what a lane begins with is told about once; the jobs go through the finisher."""
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()

    def refuse(_: ClaimChannel) -> None:
        asked.put(None)
        raise UnsuitableServer("NOPERM")

    monkeypatch.setattr(ClaimChannel, "connect", refuse)
    monkeypatch.setattr("jobkit.worker.lanes.CHECKS", 0.01)
    b = bench(QueueSpec("q"))

    @processor(Go)
    async def go(job: Job[Go]) -> int:
        return job.payload.n

    worker = b.started(go)
    for _ in range(3):
        asked.get(timeout=PATIENCE)
    assert [b.enqueue(Go(n=n)).result(PATIENCE) for n in range(3)] == [0, 1, 2]
    b.ended(worker)
    assert [each.message for each in caplog.records].count(
        "lanes are refused; the finisher records in their place"
    ) == 1


def test_what_is_not_plain_among_what_is(bench: Callable[..., Any], traffic: Traffic) -> None:
    """Suspects, parked and failed jobs, in threads and on the loop, end as they do alone, and the slots come back."""
    b = bench(QueueSpec("q", concurrency=3, retry=Retry(attempts=2, backoff=Fixed(0.01))))
    crowd = Crowd()

    class Fail(Payload[int], name="fail", queue="q"):
        for_good: bool = False

    async def fail(job: Any) -> int:
        if job.attempt == 1 or job.payload.for_good:
            raise ValueError("no")
        return 5

    fail.__annotations__["job"] = Job[Fail]
    kinds: list[Payload[Any]] = []
    for n in range(40):
        kinds += [Go(n=n), Plain(n=n), Fail(), Fail(for_good=True), Unknown(), Go(n=100 + n)]
    handles = b.enqueue_many(kinds)
    for each in handles[5::12]:
        b.redis("HSET", b.store.keys.job(each.id), "jk_rescues", "1")
    worker = b.started(*crowd.processors(), processor(Fail)(fail), on_completed=crowd.on_completed)
    crowd.wait_completed(160)
    for n, each in enumerate(handles):
        if n % 6 == 3:
            with pytest.raises(JobFailed):
                each.result(PATIENCE)
        elif n % 6 == 4:
            assert each.status().state is not JobState.FINISHED
        else:
            assert each.status().state is JobState.FINISHED
    assert crowd.runs == Counter(dict.fromkeys(crowd.runs, 1))
    assert crowd.most <= 3
    b.ended(worker)
    assert worker._slots.busy() == 0
    assert lane_replies(b, worker)
    assert set(states(b)) <= {"finished", "failed", "scheduled"}


def test_a_thread_that_is_needed_is_woken_from_the_loop(bench: Callable[..., Any], traffic: Traffic, gate: Any) -> None:
    """Plain jobs that a lane's call brought do not wait behind a long one in a thread that took them for short."""
    b = bench(QueueSpec("q", concurrency=4))
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    @processor(Go)
    async def go(job: Job[Go]) -> int:
        return job.payload.n

    @processor(Plain)
    def plain(job: Job[Plain]) -> int:
        if job.payload.n == 0:
            gate.enter()
        done.put(job.payload.n)
        return job.payload.n

    worker = b.worker(go, plain)
    worker.start()
    traffic.wait_opened(worker)
    worker._threads._mean = 0.0  # as after many short ones
    b.enqueue_many([*[Go(n=n) for n in range(4)], *[Plain(n=n) for n in range(4)]])
    gate.wait_entered()
    assert {done.get(timeout=PATIENCE) for _ in range(3)} == {1, 2, 3}
    gate.open()
    assert done.get(timeout=PATIENCE) == 0
    b.ended(worker)
