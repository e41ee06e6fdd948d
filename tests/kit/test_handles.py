import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import redis

from jobkit import (
    DeclarationError,
    JobCancelled,
    JobFailed,
    JobKit,
    JobkitError,
    JobNotFound,
    JobState,
    Payload,
    QueueSpec,
    ResultTimeout,
    Settings,
)
from jobkit.waiting import Waiting
from tests.kit.app import NEVER_LONG, Add, Flaky, Hold, Note, Stage, Sum, Wait, make_kit
from tests.outage.servers import eventually


def test_result_is_the_declared_type(live: JobKit) -> None:
    """The result comes back as the type that the payload declares."""
    result = live.enqueue(Add(numbers=[1, 2, 39])).result(timeout=NEVER_LONG)
    assert result == Sum(total=42, of=[1, 2, 39])


def test_result_of_a_job_without_one_is_none(live: JobKit, stage: Stage) -> None:
    """A job whose payload promises nothing gives None once it has ended."""
    assert live.enqueue(Note(text="kept")).result(timeout=timedelta(seconds=NEVER_LONG)) is None
    assert stage.notes == ["kept"]


def test_result_of_a_job_that_had_ended(live: JobKit) -> None:
    """Who asks after the end of a job without a result learns of it as well, and of its one attempt."""
    handle = live.enqueue(Note())
    eventually(lambda: handle.status().state is JobState.FINISHED)
    assert handle.result(timeout=0) is None
    (attempt,) = live.jobs.get(handle.id).attempts
    assert (attempt.outcome, attempt.result, attempt.worker) == ("finished", None, handle.status().worker)
    assert attempt.seconds is not None


def test_a_result_that_is_gone_is_told(live: JobKit, store_url: str) -> None:
    """A result that somebody deleted is not taken for None."""
    handle = live.enqueue(Add(numbers=[1]))
    handle.result(timeout=NEVER_LONG)
    with redis.Redis.from_url(store_url) as server:
        server.delete(f"rq:results:{handle.id}")
    with pytest.raises(JobNotFound, match="finished, but its result is no longer kept"):
        handle.result(timeout=0)


def test_result_waits_past_failed_attempts(live: JobKit) -> None:
    """Entries of attempts that another follows do not end the wait."""
    handle = live.enqueue(Flaky(failures=2))
    assert handle.result(timeout=NEVER_LONG) == "answered at attempt 3"
    assert [each.outcome for each in live.jobs.get(handle.id).attempts] == ["retried", "retried", "finished"]


def test_failed_job_tells_its_traceback(live: JobKit) -> None:
    """A job that has failed for good raises JobFailed with its last traceback, now and later."""
    handle = live.enqueue(Flaky(failures=3))
    for _ in range(2):
        with pytest.raises(JobFailed) as caught:
            handle.result(timeout=NEVER_LONG)
        told = str(caught.value)
        assert f"job {handle.id} (flaky.try) failed for good at attempt 3" in told
        assert "Traceback (most recent call last)" in told
        assert "RuntimeError: attempt 3 is meant to fail" in told
    status = handle.status()
    assert (status.state, status.error) == (JobState.FAILED, "RuntimeError: attempt 3 is meant to fail")


def test_status_of_a_running_job(live: JobKit, stage: Stage) -> None:
    """While a job runs its status says so, with its worker and its progress."""
    handle = live.enqueue(Hold())
    assert stage.started.wait(NEVER_LONG)
    status = handle.status()
    assert (status.state, status.attempt, status.worker is not None) == (JobState.STARTED, 1, True)
    assert status.progress is not None
    assert (status.progress.percent, status.progress.message) == (40, "held")
    stage.go.set()
    assert handle.result(timeout=NEVER_LONG) == "let go"
    assert handle.status().state is JobState.FINISHED


def test_result_times_out_and_the_job_goes_on(live: JobKit, stage: Stage) -> None:
    """A wait that is over raises ResultTimeout with the job's state; the job ends as if nobody had asked."""
    handle = live.enqueue(Hold())
    assert stage.started.wait(NEVER_LONG)
    with pytest.raises(ResultTimeout, match=r"\(hold.on\) has not ended within 0.02 s: it is started. It goes on"):
        handle.result(timeout=0.02)
    with pytest.raises(TimeoutError):
        handle.result(timeout=0)
    stage.go.set()
    assert handle.result(timeout=NEVER_LONG) == "let go"


def test_cancel_before_it_runs(kit: JobKit) -> None:
    """A waiting job that is cancelled never runs; who asks for its result learns who cancelled it."""
    handle = kit.enqueue(Note())
    assert handle.cancel()
    assert not handle.cancel()
    assert handle.status().state is JobState.CANCELED
    with pytest.raises(JobCancelled, match=r"\(notes.keep\) was canceled: cancelled by its caller"):
        handle.result(timeout=1)


def test_cancel_while_it_runs(live: JobKit, stage: Stage) -> None:
    """A running job that is cancelled ends its waiters at once."""
    handle = live.enqueue(Hold())
    assert stage.started.wait(NEVER_LONG)
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(handle.result, NEVER_LONG)
        assert handle.cancel()
        with pytest.raises(JobCancelled):
            waiter.result(NEVER_LONG)


def test_missing_job(kit: JobKit) -> None:
    """Every call on a job that is not there raises JobNotFound with its id."""
    handle = kit.handle("never-was", Add)
    for call in (handle.status, handle.result, handle.cancel):
        with pytest.raises(JobNotFound, match="no job 'never-was': it was never enqueued here, or retention"):
            call()


def test_result_of_a_job_removed_meanwhile(live: JobKit, stage: Stage, store_url: str) -> None:
    """A job that somebody deletes under its waiter ends the wait with JobNotFound."""
    handle = live.enqueue(Note(), delay=100)
    with redis.Redis.from_url(store_url) as client:
        client.delete(f"rq:job:{handle.id}")
    with pytest.raises(JobNotFound):
        handle.result(timeout=NEVER_LONG)


def test_handle_by_id_is_typed(live: JobKit) -> None:
    """A handle by its id gives the payload's result type; without a class, plain JSON values."""
    job_id = live.enqueue(Add(numbers=[4])).id
    assert live.handle(job_id, Add).result(timeout=NEVER_LONG) == Sum(total=4, of=[4])
    assert live.handle(job_id).result(timeout=NEVER_LONG) == {"total": 4, "of": [4]}


def test_handle_asks_redis_nothing() -> None:
    """Making a handle opens no connection."""
    assert make_kit("unix:///nonexistent/socket").handle("any", Add).id == "any"


def test_result_that_no_longer_fits(live: JobKit) -> None:
    """A stored result that does not fit the type asked for is a jobkit error, not a wrong value."""

    class OtherAdd(Payload[list[str]], name="sums.add", queue="sums"):
        numbers: list[int]

    job_id = live.enqueue(Add(numbers=[4])).id
    with pytest.raises(JobkitError, match=r"sums.add: the kept result is no list\[str\] any more"):
        live.handle(job_id, OtherAdd).result(timeout=NEVER_LONG)


def test_async_twins(live: JobKit, stage: Stage) -> None:
    """Each call of a handle has an async twin that answers alike."""

    async def main() -> None:
        handle = await live.aenqueue(Hold())
        await asyncio.to_thread(stage.started.wait, NEVER_LONG)
        assert (await handle.astatus()).state is JobState.STARTED
        with pytest.raises(ResultTimeout):
            await handle.aresult(timeout=0.02)
        stage.go.set()
        assert await handle.aresult(timeout=NEVER_LONG) == "let go"
        later = await live.aenqueue(Note(), delay=60)
        assert await later.acancel()
        assert not await later.acancel()
        with pytest.raises(JobCancelled):
            await later.aresult()
        with pytest.raises(JobFailed, match="attempt 3 is meant to fail"):
            await (await live.aenqueue(Flaky(failures=3))).aresult(timeout=NEVER_LONG)
        for call in (missing := live.handle("never-was")).astatus, missing.aresult, missing.acancel:
            with pytest.raises(JobNotFound):
                await call()
        await live.aclose()

    asyncio.run(main())


def test_hundreds_wait_on_one_connection(live: JobKit, store_url: str, stage: Stage) -> None:
    """Hundreds of results awaited on one event loop arrive, over a handful of connections."""

    async def main() -> None:
        held = await live.aenqueue(Hold())
        await asyncio.to_thread(stage.started.wait, NEVER_LONG)
        waits = [asyncio.create_task(held.aresult(timeout=NEVER_LONG)) for _ in range(50)]
        handles = await live.aenqueue_many([Add(numbers=[n]) for n in range(300)])
        sums = await asyncio.gather(*(handle.aresult(timeout=NEVER_LONG) for handle in handles))
        assert [each.total for each in sums] == list(range(300))
        with redis.Redis.from_url(store_url) as client:
            assert client.info("clients")["connected_clients"] < 100
        assert not any(wait.done() for wait in waits)
        stage.go.set()
        assert await asyncio.gather(*waits) == ["let go"] * 50
        await live.aclose()

    asyncio.run(main())


def test_newcomer_joins_the_read_under_way(live: JobKit, stage: Stage) -> None:
    """A waiter that joins while others wait is woken by its own job, long before the shared read is over."""

    async def main() -> None:
        held = await live.aenqueue(Hold())
        await asyncio.to_thread(stage.started.wait, NEVER_LONG)
        first = asyncio.create_task(held.aresult(timeout=NEVER_LONG))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(10):
            handle = await live.aenqueue(Add(numbers=[number]))
            assert (await handle.aresult(timeout=NEVER_LONG)).total == number
        # Were they to wait for the read's end, ten would take ten seconds.
        assert loop.time() - began < 5
        stage.go.set()
        await first
        await live.aclose()

    asyncio.run(main())


def test_cancelled_waiter_leaves_the_others(live: JobKit, stage: Stage) -> None:
    """A task that is cancelled while it waits for a result does not disturb those beside it."""

    async def main() -> None:
        held = await live.aenqueue(Hold())
        await asyncio.to_thread(stage.started.wait, NEVER_LONG)
        stays, goes = (asyncio.create_task(held.aresult(timeout=NEVER_LONG)) for _ in range(2))
        await held.astatus()
        goes.cancel()
        await asyncio.wait([goes])
        assert goes.cancelled()
        stage.go.set()
        assert await stays == "let go"
        await live.aclose()

    asyncio.run(main())


def test_more_threads_wait_than_a_pool_holds(live: JobKit, stage: Stage) -> None:
    """120 threads may wait for results at once."""
    held = live.enqueue(Hold())
    assert stage.started.wait(NEVER_LONG)
    ready = threading.Barrier(121)

    def wait() -> str:
        ready.wait(NEVER_LONG)
        return held.result(timeout=NEVER_LONG)

    with ThreadPoolExecutor(120) as pool:
        waits = [pool.submit(wait) for _ in range(120)]
        ready.wait(NEVER_LONG)
        stage.go.set()
        assert {each.result(NEVER_LONG) for each in waits} == {"let go"}


def test_waiting_inside_a_processor_is_refused(store_url: str) -> None:
    """A processor that waits for another job is told to let it follow: the other may need its slot."""
    stage = Stage(waiter=lambda job_id: kit.handle(job_id).result(timeout=1))
    with make_kit(store_url, stage).running() as kit:
        other = kit.enqueue(Note(), delay=60)
        with pytest.raises(JobFailed, match=r"asked to wait for the result of job .*JobResult.completed\(then="):
            kit.enqueue(Wait(other=other.id)).result(timeout=NEVER_LONG)


def test_waiting_inside_an_inline_run_is_refused(store_url: str) -> None:
    """The same mistake is told by `kit.run`, where a test meets it."""
    stage = Stage(waiter=lambda job_id: kit.handle(job_id).result(timeout=1))
    with make_kit(store_url, stage) as kit, pytest.raises(DeclarationError, match="Let the other follow"):
        kit.run(Wait(other="any"))


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
def test_wrong_timeout_is_told(kit: JobKit, timeout: object) -> None:
    """A timeout that is no duration is refused before anything is asked."""
    with pytest.raises(DeclarationError, match=r"result\(timeout=\): expected"):
        kit.handle("any").result(timeout=timeout)  # type: ignore[arg-type]


def test_waiting_ends_by_its_clock(kit: JobKit) -> None:
    """A wait looks anew at least each second, and ends when its own time is over."""
    from jobkit.store.operations import read

    handle = kit.enqueue(Note())
    found = kit.store.run(read(kit.store.keys, handle.id))
    assert found is not None
    moments = iter([100.0, 100.0, 102.4, 102.5])
    waiting = Waiting(handle.id, 2.5, monotonic=lambda: next(moments))
    assert waiting.next(found) == ("0-0", 1.0)
    assert waiting.next(found) == ("0-0", pytest.approx(0.1))
    with pytest.raises(ResultTimeout, match=r"within 2\.5 s: it is queued"):
        waiting.next(found)


def test_another_kit_reads_the_result(live: JobKit, store_url: str) -> None:
    """Whoever knows the id can wait for the result, from a kit without processors too."""
    job_id = live.enqueue(Add(numbers=[1, 1])).id
    with JobKit(Settings(redis_url=store_url), queues=[QueueSpec("other")]) as other:
        assert other.handle(job_id, Add).result(timeout=NEVER_LONG).total == 2
        pending = live.enqueue(Note(), delay=60)
        assert other.handle(pending.id).cancel()
