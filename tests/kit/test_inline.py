import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import pytest
from dependency_injector import containers, providers

from jobkit import (
    ContainerView,
    DeclarationError,
    Job,
    JobKit,
    JobkitError,
    JobResult,
    NotSerialisable,
    Payload,
    QueueSpec,
    Settings,
    UnknownJobName,
    WrongPayload,
    in_thread,
    processor,
)
from jobkit.di import Scoped
from tests.kit.app import Add, Hold, Loose, Note, Stage, Sum, make_kit

NOWHERE = "unix:///nonexistent/socket"


class Clock(Protocol):
    def now(self) -> str: ...


class Infrastructure(Protocol):
    @property
    def clock(self) -> Clock: ...


View = ContainerView[None, Infrastructure, None]


class Stamp(Payload[str], name="stamp.it", queue="notes"):
    text: str


class AsyncStamp(Payload[str], name="stamp.async", queue="notes"):
    text: str


@processor(Stamp)
def stamp(job: Job[Stamp], view: View) -> JobResult[str]:
    """Stamp the text with the time, and note that."""
    now = job.step("now", view.infrastructure.clock.now)
    job.progress(50)
    return JobResult.completed(f"{job.payload.text} {now}", then=[Note(text="stamped")])


@processor(AsyncStamp)
async def stamp_async(job: Job[AsyncStamp], view: View) -> str:
    """Stamp the text with the time."""
    now = await job.step("now", in_thread(view.infrastructure.clock.now))
    return f"{job.payload.text} {now}"


class Noon:
    def now(self) -> str:
        return "12:00"


class Adapters:
    clock = Noon()


READY: ContainerView[None, Adapters, None] = ContainerView(domain=None, infrastructure=Adapters(), cross_cutting=None)


def inline_kit(container: Any = READY) -> JobKit:
    """Give a kit that has no server."""
    return JobKit(
        Settings(redis_url=NOWHERE),
        queues=[QueueSpec("notes")],
        processors=[stamp, stamp_async],
        container=container,
    )


def test_run_gives_the_result_and_the_follow_ups() -> None:
    """`kit.run` runs the processor with its view, without Redis; follow-ups are in the result and not enqueued."""
    result = inline_kit().run(Stamp(text="it is"))
    assert result.value == "it is 12:00"
    assert list(result.then) == [Note(text="stamped")]


def test_run_takes_async_processors() -> None:
    """`kit.run` runs an async processor on a loop of its own."""
    assert inline_kit().run(AsyncStamp(text="it is")).value == "it is 12:00"


def test_arun_takes_both() -> None:
    """`kit.arun` runs async processors on the running loop, and plain ones in a thread."""

    async def main() -> list[str]:
        kit = inline_kit()
        return [(await kit.arun(Stamp(text="a"))).value, (await kit.arun(AsyncStamp(text="b"))).value]

    assert asyncio.run(main()) == ["a 12:00", "b 12:00"]


def test_run_on_a_loop_points_to_arun() -> None:
    """An async processor that is run inline on a running loop is refused, with the way out."""

    async def main() -> None:
        with pytest.raises(DeclarationError, match=r"one is running here: await kit.arun\(...\)"):
            inline_kit().run(AsyncStamp(text="b"))

    asyncio.run(main())


def test_run_normalises_a_plain_value() -> None:
    """A processor that returns the declared type itself gives a completed result."""
    result = make_kit(NOWHERE).run(Add(numbers=[1, 2]))
    assert (result.outcome, result.value) == ("completed", Sum(total=3, of=[1, 2]))


def test_run_raises_what_the_processor_raises() -> None:
    """What a processor raises inline reaches the caller as it is."""

    @processor(Hold)
    def broken(job: Job[Hold]) -> str:
        return str(1 / 0)

    kit = JobKit(Settings(redis_url=NOWHERE), queues=[QueueSpec("sums")], processors=[broken])
    with pytest.raises(ZeroDivisionError):
        kit.run(Hold())


def test_run_refuses_what_a_worker_would() -> None:
    """A result or a follow-up that could not be stored is told inline too."""
    with pytest.raises(JobkitError, match="its result cannot be written as JSON"):
        make_kit(NOWHERE).run(Loose())

    class Wide(Note, name="notes.wide", queue="notes"):
        inner: Note

    @processor(Hold)
    def follow(job: Job[Hold]) -> JobResult[str]:
        return JobResult.completed("x", then=[Wide(inner=Wide(inner=Note()))])

    kit = JobKit(Settings(redis_url=NOWHERE), queues=[QueueSpec("sums")], processors=[follow])
    with pytest.raises(NotSerialisable, match=r"Wide.inner"):
        kit.run(Hold())


def test_run_names_what_it_cannot_run() -> None:
    """A payload without a processor, and a class instead of a payload, are told."""

    class Stampp(Payload, name="stamp.itt", queue="notes"):
        pass

    with pytest.raises(UnknownJobName, match=r"no processor for jobs named 'stamp.itt'; did you mean 'stamp.it'\?"):
        inline_kit().run(Stampp())
    with pytest.raises(WrongPayload, match=r"run: expected a payload, got the class Note"):
        inline_kit().run(Note)  # type: ignore[type-var]


def test_run_closes_the_scope_of_the_job() -> None:
    """What a Scoped provider opens for an inline job is closed when the job has ended."""
    seen: list[str] = []

    @contextmanager
    def session() -> Iterator[Noon]:
        seen.append("opened")
        yield Noon()
        seen.append("closed")

    class Gear(containers.DeclarativeContainer):
        clock = Scoped(session)

    class App(containers.DeclarativeContainer):
        infrastructure = providers.Container(Gear)

    assert inline_kit(App).run(Stamp(text="it is")).value == "it is 12:00"
    assert seen == ["opened", "closed"]


def test_run_opens_and_closes_the_container() -> None:
    """A container that is an async context manager is opened for the inline run and closed after it."""
    seen: list[str] = []

    @asynccontextmanager
    async def ready() -> Any:
        seen.append("opened")
        yield READY
        seen.append("closed")

    kit = inline_kit(ready)
    assert kit.run(Stamp(text="a")).value == "a 12:00"
    assert kit.run(AsyncStamp(text="b")).value == "b 12:00"
    assert seen == ["opened", "closed"] * 2


def test_inline_jobs_do_not_meet() -> None:
    """Inline runs of one kit at the same time, on one loop, keep their jobs apart."""
    stage = Stage()
    stage.go.set()

    async def main() -> list[Any]:
        kit = make_kit(NOWHERE, stage)
        results = await asyncio.gather(*(kit.arun(Add(numbers=[n])) for n in range(20)), kit.arun(Hold()))
        return [each.value for each in results]

    *sums, held = asyncio.run(main())
    assert ([each.total for each in sums], held) == (list(range(20)), "let go")
