"""Jobs end to end: a real server, a worker in threads."""

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any, Protocol

import pytest
import rq
from pydantic import BaseModel

from jobkit.container import ContainerView
from jobkit.errors import JobCancelled, JobFailed, Unrecoverable
from jobkit.jobs import Job, JobState, in_thread
from jobkit.payloads import Payload
from jobkit.policies import Exponential, Fixed, Retention, Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from jobkit.results import JobResult, draft


class Total(BaseModel):
    cents: int


class Add(Payload[Total], name="add", queue="q"):
    a: int
    b: int


class AddLater(Payload[Total], name="add.async", queue="q"):
    a: int
    b: int


class Shake(Payload, name="shake", queue="q"):
    fail: int = 0


class Other(Payload, name="other", queue="other"):
    text: str = ""


@processor(Add)
def add(job: Job[Add]) -> Total:
    """Add in a thread."""
    return Total(cents=job.payload.a + job.payload.b)


@processor(AddLater)
async def add_later(job: Job[AddLater]) -> JobResult[Total]:
    """Add on the event loop."""
    return JobResult.completed(Total(cents=job.payload.a + job.payload.b))


def test_a_result_comes_back(bench: Callable[..., Any]) -> None:
    """A payload goes in and its result comes out, of a plain and of an async processor."""
    b = bench()
    b.started(add, add_later)
    first, second = b.enqueue(Add(a=1, b=2)), b.enqueue(AddLater(a=3, b=4))
    assert first.result(10) == Total(cents=3)
    assert second.result(10) == Total(cents=7)
    assert first.status().state is JobState.FINISHED


def test_many_jobs_run_once_each(bench: Callable[..., Any]) -> None:
    """A thousand jobs of two queues run once each, and every slot is free afterwards."""
    b = bench(QueueSpec("q", concurrency=3), QueueSpec("other", concurrency=2))
    seen: list[str] = []
    done = threading.Event()

    def count(job: Job[Any], _: Any) -> None:
        seen.append(job.id)
        if len(seen) == 1000:
            done.set()

    @processor(Other)
    async def other(job: Job[Other]) -> None:
        return None

    worker = b.worker(add, other, on_completed=count)
    b.enqueue_many([Add(a=n, b=0) if n % 2 else Other() for n in range(1000)])
    worker.start()
    assert done.wait(20)
    b.ended(worker)
    assert len(set(seen)) == 1000
    assert worker._slots.busy() == 0
    assert b.redis("ZCARD", "rq:jk:lease:q") == b.redis("ZCARD", "rq:wip:q") == 0


def test_a_failure_waits_and_comes_again(bench: Callable[..., Any]) -> None:
    """A failing job waits as its policy says, then runs again; attempts and errors are kept."""
    b = bench(QueueSpec("q", retry=Retry(attempts=3, backoff=Fixed(0.01))))
    attempts: list[tuple[int, int, int]] = []

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        attempts.append((job.attempt, job.attempts, job.epoch))
        if job.attempt <= job.payload.fail:
            raise ValueError(f"no luck {job.attempt}")

    b.started(shake)
    b.enqueue(Shake(fail=2)).result(10)
    assert attempts == [(1, 3, 1), (2, 3, 2), (3, 3, 3)]
    handle = b.enqueue(Shake(fail=9))
    with pytest.raises(JobFailed, match="no luck 3"):
        handle.result(10)
    assert attempts[3:] == [(1, 3, 1), (2, 3, 2), (3, 3, 3)]


def test_a_retry_is_scheduled_with_its_wait(bench: Callable[..., Any]) -> None:
    """Between two attempts the job is scheduled, with the error and the time it is due."""
    b = bench(QueueSpec("q", retry=Retry(attempts=2, backoff=Exponential(3600))))

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        raise ValueError("later")

    b.started(shake)
    handle = b.enqueue(Shake())
    line = b.lines.wait_for("job failed", job_id=handle.id)
    assert line.next == "again in 3600.0 s"
    status = handle.status()
    assert status.state is JobState.SCHEDULED
    assert status.error == "ValueError: later"
    assert status.due_at is not None


def test_a_callable_backoff_is_asked(bench: Callable[..., Any]) -> None:
    """A queue's own function tells the wait from the number of failures."""
    asked: list[int] = []

    def backoff(failed: int) -> float:
        asked.append(failed)
        return 0.01

    b = bench(QueueSpec("q", retry=Retry(attempts=3, backoff=backoff)))

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        raise ValueError

    b.started(shake)
    with pytest.raises(JobFailed):
        b.enqueue(Shake()).result(10)
    assert asked == [1, 2]


def test_unrecoverable_skips_the_retries(bench: Callable[..., Any]) -> None:
    """Unrecoverable sends the job to the dead letters at its first attempt, with the host's frames only."""
    b = bench()

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        raise Unrecoverable("never")

    b.started(shake)
    handle = b.enqueue(Shake())
    with pytest.raises(JobFailed, match="never") as caught:
        handle.result(10)
    text = str(caught.value)
    assert "test_flow.py" in text
    assert "jobkit/worker" not in text
    assert handle.status().state is JobState.FAILED


def test_snoozed_and_cancelled(bench: Callable[..., Any]) -> None:
    """A snoozed job comes again with no attempt used; a cancelled one ends with its reason."""
    b = bench()
    seen: list[tuple[int, int]] = []

    @processor(Shake)
    def shake(job: Job[Shake]) -> JobResult[None]:
        seen.append((job.attempt, job.epoch))
        if job.payload.fail:
            return JobResult.cancelled("not wanted any more")
        return JobResult.snoozed(0.01, "later") if job.epoch == 1 else JobResult.completed()

    b.started(shake)
    b.enqueue(Shake()).result(10)
    assert seen == [(1, 1), (1, 2)]
    handle = b.enqueue(Shake(fail=1))
    with pytest.raises(JobCancelled, match="not wanted any more"):
        handle.result(10)
    assert handle.status().state is JobState.CANCELED


def test_a_wrong_result_is_not_retried(bench: Callable[..., Any]) -> None:
    """A result that the payload does not promise goes to the dead letters: its effects have happened."""
    b = bench(QueueSpec("q", retry=Retry(attempts=5, backoff=Fixed(0))))
    calls: list[int] = []

    @processor(Add)
    def wrong(job: Job[Add]) -> Any:
        calls.append(1)
        return {"cents": "many"}

    b.started(wrong)
    with pytest.raises(JobFailed, match="expected Total"):
        b.enqueue(Add(a=1, b=1)).result(10)
    assert calls == [1]


def test_follow_ups_come_with_the_finish(bench: Callable[..., Any]) -> None:
    """What `then` names is enqueued with the finish, with its options; a bad one sends the job to the dead letters."""
    b = bench(QueueSpec("q"), QueueSpec("other"))
    got: list[str] = []
    done = threading.Event()

    @processor(Shake)
    def shake(job: Job[Shake]) -> JobResult[None]:
        if job.payload.fail:
            return JobResult.completed(then=[Nowhere()])
        return JobResult.completed(then=[Other(text="plain"), draft(Other(text="tagged"), tags={"t": "1"})])

    @processor(Other)
    def other(job: Job[Other]) -> None:
        got.append(f"{job.payload.text} {dict(job.tags)}")
        if len(got) == 2:
            done.set()

    class Nowhere(Payload, name="nowhere", queue="nowhere"):
        pass

    b.started(shake, other)
    b.enqueue(Shake()).result(10)
    assert done.wait(10)
    assert sorted(got) == ["plain {}", "tagged {'t': '1'}"]
    with pytest.raises(JobFailed, match="unknown queue 'nowhere'"):
        b.enqueue(Shake(fail=1)).result(10)


def test_steps_are_kept_across_retries(bench: Callable[..., Any]) -> None:
    """A step's value comes back as the model it was; the step runs once, whatever fails after it."""
    b = bench(QueueSpec("q", retry=Retry(attempts=3, backoff=Fixed(0.01))))
    ran: list[str] = []

    def price() -> Total:
        ran.append("price")
        return Total(cents=5)

    async def aprice() -> Total:
        ran.append("aprice")
        return Total(cents=6)

    @processor(Add)
    def sync(job: Job[Add]) -> Total:
        total = job.step("price", price)
        if job.attempt < 3:
            raise ValueError
        return total

    @processor(AddLater)
    async def later(job: Job[AddLater]) -> Total:
        total = await job.step("aprice", aprice)
        more = await job.step("thread", in_thread(price))
        if job.attempt < 3:
            raise ValueError
        return Total(cents=total.cents + more.cents)

    b.started(sync, later)
    assert b.enqueue(Add(a=0, b=0)).result(10) == Total(cents=5)
    assert b.enqueue(AddLater(a=0, b=0)).result(10) == Total(cents=11)
    assert ran == ["price", "aprice", "price"]


def test_progress_is_seen_from_outside(bench: Callable[..., Any], gate: Any) -> None:
    """What a job says of its progress is in its status while it runs."""
    b = bench()

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        job.progress(40, "halfway")
        gate.enter()

    b.started(shake)
    handle = b.enqueue(Shake(), tags={"tenant": "t_1"})
    gate.wait_entered()
    status = handle.status()
    assert status.state is JobState.STARTED
    assert status.progress is not None
    assert (status.progress.percent, status.progress.message) == (40, "halfway")
    assert status.tags == {"tenant": "t_1"}


def test_a_job_enqueues_while_it_runs(bench: Callable[..., Any]) -> None:
    """job.enqueue writes a job at once, as the owner of the claim."""
    b = bench(QueueSpec("q"), QueueSpec("other"))
    got = threading.Event()

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        job.enqueue(Other(text="now"))
        assert got.wait(10)

    @processor(Other)
    async def other(job: Job[Other]) -> None:
        got.set()

    b.started(shake, other)
    b.enqueue(Shake()).result(10)


def test_hooks_are_told_after_the_record(bench: Callable[..., Any]) -> None:
    """on_completed and on_failed come after the outcome is recorded; what they raise changes nothing."""
    b = bench(QueueSpec("q", retry=Retry(attempts=2, backoff=Fixed(0.01))))
    told: list[tuple[str, str, str]] = []

    def on_completed(job: Job[Any], result: JobResult[Any]) -> None:
        told.append(("completed", job.id, b.client.handle(job.id).status().state))
        raise RuntimeError("a hook's own fault")

    def on_failed(job: Job[Any], error: BaseException) -> None:
        told.append((repr(error), job.id, b.client.handle(job.id).status().state))

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        if job.payload.fail:
            raise ValueError(job.attempt)

    worker = b.started(shake, on_completed=on_completed, on_failed=on_failed)
    good, bad = b.enqueue(Shake()), b.enqueue(Shake(fail=1))
    good.result(10)
    with pytest.raises(JobFailed):
        bad.result(10)
    b.ended(worker)
    assert sorted(told) == [("ValueError(2)", bad.id, "failed"), ("completed", good.id, "finished")]
    assert "a hook raised; the job's outcome stands" in b.lines.messages()


def test_a_hook_that_exits_leaves_the_hooks_at_work(bench: Callable[..., Any]) -> None:
    """A hook that asks the process to end is logged as any other fault; the next one is called."""
    b = bench()
    told: list[str] = []

    def on_completed(job: Job[Any], result: JobResult[Any]) -> None:
        told.append(job.id)
        raise SystemExit

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        pass

    worker = b.started(shake, on_completed=on_completed)
    handles = b.enqueue_many([Shake(), Shake()])
    for handle in handles:
        handle.result(10)
    b.ended(worker)
    assert sorted(told) == sorted(handle.id for handle in handles)
    assert not worker.failed


def test_the_view_is_filled_and_scoped(bench: Callable[..., Any]) -> None:
    """A processor gets its view over the container; a container that is opened is closed when the worker ends."""
    b = bench()
    events: list[str] = []

    class Clock(Protocol):
        def tick(self) -> int: ...

    class Infra(Protocol):
        clock: Clock

    class RealClock:
        def tick(self) -> int:
            return 7

    class RealInfra:
        clock = RealClock()

    @contextlib.asynccontextmanager
    async def container() -> Any:
        events.append("open")
        yield ContainerView(domain=None, infrastructure=RealInfra(), cross_cutting=None)
        events.append("close")

    @processor(Add)
    def ticking(job: Job[Add], view: "ContainerView[None, Infra, None]") -> Total:
        return Total(cents=view.infrastructure.clock.tick())

    object.__setattr__(
        ticking.fn, "__annotations__", {"job": Job[Add], "view": ContainerView[None, Infra, None], "return": Total}
    )
    worker = b.started(ticking, container=container)
    assert b.enqueue(Add(a=0, b=0)).result(10).cents == 7
    b.ended(worker)
    assert events == ["open", "close"]


def test_unknown_names_are_parked(bench: Callable[..., Any]) -> None:
    """A job that no processor takes waits with its reason and uses no attempt; the others go on."""
    b = bench()
    b.started(add)
    parked = b.enqueue(Shake())
    assert b.enqueue(Add(a=1, b=1)).result(10).cents == 2
    b.lines.wait_for("job put off", job_id=parked.id)
    status = parked.status()
    assert status.state is JobState.SCHEDULED
    assert status.attempt == 0
    assert "no processor for jobs named 'shake'" in (status.reason or "")


def test_unreadable_jobs_go_to_the_dead_letters(bench: Callable[..., Any]) -> None:
    """Pickled, corrupt and forbidden jobs are dead letters with the remedy, unread; the others go on."""
    b = bench()

    def put(job_id: str, **fields: Any) -> None:
        flat = [word for pair in {"status": "queued", "origin": "q", "timeout": 9, **fields}.items() for word in pair]
        b.redis("HSET", f"rq:job:{job_id}", *flat)
        b.redis("RPUSH", "rq:queue:q", job_id)

    put("pickled", data=b"\x80\x04\x95junk")
    put("corrupt", data=b"\xff{not json")
    put("forbidden", data=json.dumps(["os.getcwd", None, [], {}]))
    b.redis("SET", "rq:job:nohash", "?")
    b.redis("RPUSH", "rq:queue:q", "nohash")
    b.started(add)
    assert b.enqueue(Add(a=1, b=1)).result(10).cents == 2
    for job_id, remedy in {
        "pickled": "never unpickles",
        "corrupt": "not RQ's JSON call",
        "forbidden": "JOBKIT_RQ_FUNCTIONS",
        "nohash": "not RQ's JSON call",
    }.items():
        with pytest.raises(JobFailed, match=remedy):
            b.client.handle(job_id).result(10)


def test_vanilla_jobs_run_where_allowed(bench: Callable[..., Any]) -> None:
    """A job of a plain RQ client runs when its function is among the settings' functions, with RQ's retries."""
    b = bench()
    queue = rq.Queue("q", connection=b.store.client, serializer="json")
    good = queue.enqueue("posixpath.join", "a", "b")
    bad = queue.enqueue("operator.truediv", 1, 0, retry=rq.Retry(max=1))
    absent = queue.enqueue("operator.nothing")
    b.started(add, rq_functions=("posixpath.*", "operator.*"))
    assert b.client.handle(good.id).result(10) == "a/b"
    b.lines.wait_for("job failed", job_id=bad.id, next="again in 0.0 s")
    with pytest.raises(JobFailed, match="no such function"):
        b.client.handle(absent.id).result(10)


def test_an_idle_slot_hears_its_queue(bench: Callable[..., Any], gate: Any) -> None:
    """A slot that comes free while a claim waits on other queues is used at once, not at the claim's end."""
    b = bench(QueueSpec("q", concurrency=1), QueueSpec("other", concurrency=1))

    @processor(Shake)
    def shake(job: Job[Shake]) -> None:
        gate.enter()

    @processor(Other)
    def other(job: Job[Other]) -> None:
        return None

    b.started(shake, other)
    handle = b.enqueue(Shake())
    gate.wait_entered()
    gate.open()
    handle.result(10)
    for _ in range(5):
        b.enqueue(Shake()).result(10)
        b.enqueue(Other()).result(10)


def test_rq_sees_the_worker(bench: Callable[..., Any], gate: Any) -> None:
    """RQ's own tools list the worker while it lives, and not afterwards."""
    b = bench()
    worker = b.started(add)
    assert [each.name for each in rq.Worker.all(connection=b.store.client)] == [worker.name]
    b.ended(worker)
    assert rq.Worker.all(connection=b.store.client) == []


def test_retention_is_obeyed(bench: Callable[..., Any]) -> None:
    """A queue keeps as many finished jobs as its spec says."""
    b = bench(QueueSpec("q", retention=Retention(completed=3)))
    worker = b.started(add)
    for n in range(8):
        b.enqueue(Add(a=n, b=0)).result(10)
    b.ended(worker)
    assert b.redis("ZCARD", "rq:finished:q") == 3
