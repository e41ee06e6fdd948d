import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import redis

from jobkit import DeclarationError, JobKit, JobState, NotSerialisable, PayloadTooLarge, WrongPayload, draft
from tests.kit.app import Add, Note, make_kit


def waiting(url: str, queue: str = "notes") -> list[str]:
    """Give the ids that wait in a queue, the next one first."""
    with redis.Redis.from_url(url) as client:
        return [job_id.decode() for job_id in client.lrange(f"rq:queue:{queue}", 0, -1)]


def calls(url: str) -> int:
    """Give the number of scripts that the server has run."""
    with redis.Redis.from_url(url) as client:
        return sum(
            client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval")
        )


def test_enqueue_stores_before_it_returns(kit: JobKit, store_url: str) -> None:
    """When `enqueue` returns the job waits in its queue, with the queue's rules on it."""
    handle = kit.enqueue(Add(numbers=[1, 2]))
    assert waiting(store_url, "sums") == [handle.id]
    status = handle.status()
    assert (status.state, status.name, status.queue) == (JobState.QUEUED, "sums.add", "sums")
    assert (status.attempt, status.attempts, dict(status.tags)) == (0, 3, {})
    record = kit.jobs.get(handle.id)
    assert (record.payload, record.timeout) == ({"numbers": [1, 2]}, 30)


def test_aenqueue_stores_before_it_returns(kit: JobKit, store_url: str) -> None:
    """When `aenqueue` returns the job waits in its queue, options and all."""

    async def main() -> None:
        async with kit:
            handle = await kit.aenqueue(Note(), tags={"tenant": "t_1"}, job_id="mine")
            status = await handle.astatus()
            assert (status.id, status.state, dict(status.tags)) == ("mine", JobState.QUEUED, {"tenant": "t_1"})

    asyncio.run(main())
    assert waiting(store_url) == ["mine"]


def test_first_aenqueue_opens_the_store_off_the_loop(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call on an event loop connects and checks the server in a thread, so that other tasks go on."""
    from jobkit.store import Store

    on_loop: list[bool] = []

    def looped() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    class Watched(Store):
        def check(self, environment: str = "local") -> None:
            on_loop.append(looped())
            super().check(environment)

    monkeypatch.setattr("jobkit.door.Store", Watched)

    async def main() -> None:
        async with make_kit(store_url) as kit:
            await asyncio.gather(*(kit.aenqueue(Note()) for _ in range(3)))

    asyncio.run(main())
    assert on_loop == [False]


def test_tags_ride_on_the_job(kit: JobKit) -> None:
    """Tags given at the enqueue are in the status, and can be listed by."""
    handle = kit.enqueue(Note(), tags={"tenant": "t_1", "region": "eu"})
    kit.enqueue(Note(), tags={"tenant": "t_2"})
    assert dict(handle.status().tags) == {"tenant": "t_1", "region": "eu"}
    assert [job.id for job in kit.jobs.ls(tags={"tenant": "t_1"})] == [handle.id]


@pytest.mark.parametrize("delay", [30, 30.0, timedelta(seconds=30)])
def test_delay_schedules(kit: JobKit, delay: float | timedelta) -> None:
    """A delayed job is scheduled for so many seconds after the enqueue, by the server's clock."""
    status = kit.enqueue(Note(), delay=delay).status()
    assert status.state is JobState.SCHEDULED
    assert status.due_at is not None
    assert status.created_at is not None
    assert (status.due_at - status.created_at).total_seconds() == pytest.approx(30, abs=0.01)


def test_at_schedules(kit: JobKit) -> None:
    """A job with a moment is scheduled for it, whatever its timezone."""
    moment = datetime(2090, 1, 31, 8, 0, tzinfo=UTC)
    assert kit.enqueue(Note(), at=moment).status().due_at == moment


def test_a_past_moment_means_now(kit: JobKit) -> None:
    """A job whose moment has passed is queued at once."""
    assert kit.enqueue(Note(), at=datetime(2001, 1, 1, tzinfo=UTC)).status().state is JobState.QUEUED
    assert kit.enqueue(Note(), at=datetime(1901, 1, 1, tzinfo=UTC)).status().state is JobState.QUEUED


def test_one_id_makes_one_job(kit: JobKit, store_url: str) -> None:
    """An enqueue that is repeated with its id changes nothing."""
    first = kit.enqueue(Note(text="first"), job_id="once")
    again = kit.enqueue(Note(text="again"), job_id="once", delay=60)
    assert first.id == again.id == "once"
    assert waiting(store_url) == ["once"]
    assert kit.jobs.get("once").payload == {"text": "first"}


def test_a_draft_brings_its_options(kit: JobKit, store_url: str) -> None:
    """A draft is enqueued with its own id, tags and delay, and sending it twice makes one job."""
    line = draft(Note(), delay=60, tags={"tenant": "t_1"})
    assert kit.enqueue(line).id == kit.enqueue(line).id == line.id
    status = kit.handle(line.id).status()
    assert (status.state, dict(status.tags)) == (JobState.SCHEDULED, {"tenant": "t_1"})
    with pytest.raises(DeclarationError, match="a draft brings its own options"):
        kit.enqueue(line, delay=5)


def test_enqueue_many_keeps_the_order(kit: JobKit, store_url: str) -> None:
    """Many jobs are stored 500 a call, in their order, with a handle for each."""
    kit.enqueue(Add(numbers=[]))  # the server knows the script from here on
    before = calls(store_url)
    handles = kit.enqueue_many(Note(text=str(number)) for number in range(1201))
    assert calls(store_url) - before == 3
    assert waiting(store_url) == [handle.id for handle in handles]
    assert kit.jobs.get(handles[777].id).payload == {"text": "777"}


def test_aenqueue_many_keeps_the_order(kit: JobKit, store_url: str) -> None:
    """Many jobs from an event loop are stored 500 a call, in their order."""
    kit.enqueue(Add(numbers=[]))  # the server knows the script from here on
    before = calls(store_url)

    async def main() -> list[str]:
        async with kit:
            return [handle.id for handle in await kit.aenqueue_many([Note(text=str(n)) for n in range(1001)])]

    ids = asyncio.run(main())
    assert calls(store_url) - before == 3
    assert waiting(store_url) == ids


def test_enqueue_many_takes_payloads_and_drafts(kit: JobKit) -> None:
    """A bulk may mix payloads of several kinds with drafts; an empty one asks Redis nothing."""
    first, second, third = kit.enqueue_many([Note(), draft(Note(), job_id="mine", delay=60), Note(text="b")])
    assert [first.status().state, second.id, third.status().state] == ["queued", "mine", "queued"]
    assert kit.enqueue_many([]) == []


def test_empty_bulk_needs_no_redis() -> None:
    """An empty bulk opens nothing."""
    assert make_kit("unix:///nonexistent/socket").enqueue_many([]) == []


@pytest.mark.parametrize("use_async", [False, True])
def test_bulk_is_checked_whole_first(kit: JobKit, store_url: str, *, use_async: bool) -> None:
    """One bad payload among many refuses the bulk before anything is sent."""
    bad = Note(text="x" * 2_000_000)
    bulk = [*(Note() for _ in range(700)), bad]

    async def main() -> None:
        async with kit:
            await kit.aenqueue_many(bulk)

    with pytest.raises(PayloadTooLarge, match=r"notes.keep: expected a payload of at most 1,048,576 bytes"):
        asyncio.run(main()) if use_async else kit.enqueue_many(bulk)
    assert waiting(store_url) == []


def test_bulk_names_the_item_that_is_no_payload(kit: JobKit) -> None:
    """A class among the payloads of a bulk is named."""
    with pytest.raises(
        WrongPayload, match=r"enqueue_many: expected a payload, got the class Note; did you mean Note\(...\)"
    ):
        kit.enqueue_many([Note(), Note])  # type: ignore[list-item]


def test_many_enqueues_on_one_loop(kit: JobKit, store_url: str) -> None:
    """Hundreds of concurrent enqueues on one event loop share a bounded number of connections."""

    async def main() -> None:
        async with kit:
            await asyncio.gather(*(kit.aenqueue(Note()) for _ in range(300)))
            with redis.Redis.from_url(store_url) as client:
                assert client.info("clients")["connected_clients"] < 100

    asyncio.run(main())
    assert len(waiting(store_url)) == 300


def test_one_kit_on_several_loops(kit: JobKit, store_url: str) -> None:
    """A kit serves one event loop after another."""

    async def main() -> None:
        async with kit:
            await kit.aenqueue(Note())

    asyncio.run(main())
    asyncio.run(main())
    assert len(waiting(store_url)) == 2


def test_a_value_that_json_loses_is_named(kit: JobKit) -> None:
    """A payload whose field does not come back from JSON is refused, and the field is named."""

    class Wide(Note, name="notes.wide", queue="notes"):
        inner: Note

    with pytest.raises(NotSerialisable, match=r"Wide.inner: does not come back from JSON as it went in"):
        kit.enqueue(Wide(inner=Wide(inner=Note())))
