"""Dedupe as an application uses it: one handle for all that ask for the same."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from jobkit import (
    DeclarationError,
    Dedupe,
    Job,
    JobKit,
    JobResult,
    JobState,
    NotSerialisable,
    Payload,
    QueueSpec,
    Settings,
    draft,
    processor,
)
from tests.kit.app import NEVER_LONG


class Sync(Payload[str], name="tenant.sync", queue="sync"):
    tenant_id: str
    note: str = ""
    accounts: frozenset[str] = frozenset()


class Plan(Payload[list[str]], name="tenant.plan", queue="plans"):
    """Enqueues two syncs of its tenant while it runs, and two when it has finished."""

    tenant_id: str


ONCE = Dedupe("sync:{tenant_id}")
LATER = Dedupe("later:{tenant_id}", mode="debounce", within=60)
QUEUES = (QueueSpec("sync", concurrency=4), QueueSpec("plans"))


@attrs.frozen
class App:
    """A kit, and what its processors wait for."""

    kit: JobKit
    go: threading.Event
    started: threading.Event


@pytest.fixture
def make_app(store_url: str) -> Iterator[Callable[[], App]]:
    """Give what makes an app on an empty server; held jobs are let go at the end."""
    go = threading.Event()

    def make() -> App:
        started = threading.Event()

        @processor(Sync)
        def sync(job: Job[Sync]) -> str:
            started.set()
            assert go.wait(NEVER_LONG)
            return job.payload.note

        @processor(Plan)
        def plan(job: Job[Plan]) -> JobResult[list[str]]:
            tenant = job.payload.tenant_id
            ids = [job.enqueue(draft(Sync(tenant_id=tenant), dedupe=ONCE)) for _ in range(2)]
            twice = [draft(Sync(tenant_id=tenant), dedupe=LATER) for _ in range(2)]
            return JobResult.completed(ids, then=twice)

        return App(JobKit(Settings(redis_url=store_url), queues=QUEUES, processors=[sync, plan]), go, started)

    yield make
    go.set()


@pytest.fixture
def kit(make_app: Callable[[], App]) -> Iterator[JobKit]:
    """Give a kit without a worker."""
    with make_app().kit as made:
        yield made


def test_the_handle_is_the_bound_job_s(kit: JobKit) -> None:
    """An enqueue that would repeat a waiting job gives the handle of that one, with its payload."""
    first = kit.enqueue(Sync(tenant_id="t_1", note="first"), dedupe=ONCE)
    assert kit.enqueue(Sync(tenant_id="t_1", note="second"), dedupe=ONCE).id == first.id
    assert kit.enqueue(Sync(tenant_id="t_2"), dedupe=ONCE).id != first.id
    assert kit.enqueue(Sync(tenant_id="t_1")).id != first.id
    assert kit.jobs.get(first.id).payload["note"] == "first"
    first.cancel()
    assert kit.enqueue(Sync(tenant_id="t_1"), dedupe=ONCE).id != first.id


def test_on_an_event_loop(kit: JobKit) -> None:
    """The async twins answer the same."""

    async def main() -> None:
        async with kit:
            one, two = await asyncio.gather(*(kit.aenqueue(Sync(tenant_id="t_1"), dedupe=ONCE) for _ in range(2)))
            many = await kit.aenqueue_many(draft(Sync(tenant_id="t_1"), dedupe=ONCE) for _ in range(3))
            assert {one.id} == {two.id} == {each.id for each in many}

    asyncio.run(main())


def test_many(kit: JobKit) -> None:
    """A bulk has a handle for each of its drafts, in their order, also beyond one call."""
    handles = kit.enqueue_many(draft(Sync(tenant_id=f"t_{n % 7}"), dedupe=ONCE) for n in range(1100))
    assert [each.id for each in handles] == [handles[n % 7].id for n in range(1100)]
    assert len(kit.jobs.ls(queue="sync")) == 7


def test_a_draft_sent_twice(kit: JobKit) -> None:
    """A draft that is sent again gives the same handle, whether its own job was made or another stood for it."""
    first, second = (draft(Sync(tenant_id="t_1"), dedupe=ONCE) for _ in range(2))
    assert [kit.enqueue(each).id for each in (first, second, first, second)] == [first.id] * 4


def test_throttle(kit: JobKit) -> None:
    """Within its window the first job's handle is the answer, though it has ended."""
    often = Dedupe("{tenant_id}", mode="throttle", within=3600)
    first = kit.enqueue(Sync(tenant_id="t_1"), dedupe=often)
    assert first.cancel()
    assert kit.enqueue(Sync(tenant_id="t_1"), dedupe=often).status().state is JobState.CANCELED


def test_debounce(make_app: Callable[[], App]) -> None:
    """One job runs, with the payload and the tags of the last enqueue."""
    app = make_app()
    app.go.set()
    with app.kit.running() as kit:
        soon = Dedupe("{tenant_id}", mode="debounce", within=0.3)
        handles = [kit.enqueue(Sync(tenant_id="t", note=n), dedupe=soon, tags={"n": n}) for n in "abc"]
        assert len({each.id for each in handles}) == 1
        assert handles[0].result(timeout=NEVER_LONG) == "c"
        assert handles[0].status().tags == {"n": "c"}
        assert kit.enqueue(Sync(tenant_id="t"), dedupe=soon).id != handles[0].id


def test_from_jobs(make_app: Callable[[], App]) -> None:
    """`job.enqueue` gives the bound job's id, and follow-ups obey their keys."""
    app = make_app()
    with app.kit.running() as kit:
        one, two = kit.enqueue(Plan(tenant_id="t_1")).result(timeout=NEVER_LONG)
        assert one == two
        assert app.started.wait(NEVER_LONG)
        assert kit.enqueue(Sync(tenant_id="t_1"), dedupe=ONCE).id == one
        assert len(kit.jobs.ls(queue="sync", state="scheduled")) == 1


def test_inline(kit: JobKit) -> None:
    """A job that runs inline asks nobody: its follow-ups come back with their keys."""
    result = kit.run(Plan(tenant_id="t_1"))
    assert [each.options.dedupe for each in result.then if not isinstance(each, Payload)] == [LATER, LATER]


def test_a_key_s_length_and_characters_do_not_matter(kit: JobKit) -> None:
    """What a payload holds does not show in the name of the key."""
    first = kit.enqueue(Sync(tenant_id="a b:\n" * 10_000), dedupe=ONCE)
    assert kit.enqueue(Sync(tenant_id="a b:\n" * 10_000), dedupe=ONCE).id == first.id


MISTAKES: dict[str, tuple[Callable[[JobKit], Any], type[Exception], str]] = {
    "a field with many values": (
        lambda kit: kit.enqueue(Sync(tenant_id="t", accounts=frozenset("a")), dedupe=Dedupe("{accounts}")),
        NotSerialisable,
        "Sync.accounts: dedupe key='{accounts}' expected text, a number, a date or the like, got .'a'.; name a field",
    ),
    "no field": (
        lambda kit: kit.enqueue(Sync(tenant_id="t"), dedupe=Dedupe("{tenant}")),
        DeclarationError,
        "names 'tenant', which is no field of the payload; did you mean 'tenant_id'",
    ),
    "two times": (
        lambda kit: kit.enqueue(Sync(tenant_id="t"), dedupe=LATER, delay=5),
        DeclarationError,
        "A debounced job starts when nobody has enqueued it for `within` seconds",
    ),
    "beside a draft": (
        lambda kit: kit.enqueue(draft(Sync(tenant_id="t")), dedupe=ONCE),
        DeclarationError,
        "a draft brings its own options",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(kit: JobKit, name: str) -> None:
    """A wrong key or combination is refused before anything is sent."""
    do, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        do(kit)
    assert kit.jobs.ls(queue="sync") == []
