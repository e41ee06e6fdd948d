"""An app for the tests of the client side: payloads, processors that the test steers, and kits on a given server."""

import threading
from collections.abc import Callable
from typing import Any

import attrs
from pydantic import BaseModel, Field

from jobkit import Fixed, Job, JobKit, JobResult, Payload, Processor, QueueSpec, Retry, Settings, processor

NEVER_LONG = 20.0
"""Seconds after which a test gives up waiting for what should take milliseconds."""


class Sum(BaseModel):
    total: int
    of: list[int] = []


class Add(Payload[Sum], name="sums.add", queue="sums"):
    numbers: list[int]


class Note(Payload, name="notes.keep", queue="notes"):
    text: str = "hello"


class Flaky(Payload[str], name="flaky.try", queue="sums"):
    """Fails so many times, then answers."""

    failures: int


class Hold(Payload[str], name="hold.on", queue="sums"):
    """Runs until the test lets it go."""


class Wait(Payload, name="wait.for", queue="sums"):
    """Waits for another job's result, which no processor may."""

    other: str


class Loose(Payload[Any], name="loose.give", queue="sums"):
    """Gives back what has no JSON."""


@attrs.frozen
class Stage:
    """What the test and the processors share."""

    started: threading.Event = attrs.field(factory=threading.Event)
    go: threading.Event = attrs.field(factory=threading.Event)
    notes: list[str] = attrs.field(factory=list)
    waiter: Callable[[str], Any] = attrs.field(default=lambda _: None)

    def processors(self) -> list[Processor[Any, ..., Any]]:
        """The app's processors on this stage."""

        @processor(Add)
        def add(job: Job[Add]) -> Sum:
            return Sum(total=sum(job.payload.numbers), of=job.payload.numbers)

        @processor(Note)
        def keep(job: Job[Note]) -> None:
            self.notes.append(job.payload.text)

        @processor(Flaky)
        async def flaky(job: Job[Flaky]) -> str:
            if job.attempt <= job.payload.failures:
                raise RuntimeError(f"attempt {job.attempt} is meant to fail")
            return f"answered at attempt {job.attempt}"

        @processor(Hold)
        def hold(job: Job[Hold]) -> JobResult[str]:
            job.progress(40, "held")
            self.started.set()
            assert self.go.wait(NEVER_LONG)
            return JobResult.completed("let go")

        @processor(Wait)
        def wait(job: Job[Wait]) -> None:
            self.waiter(job.payload.other)

        @processor(Loose)
        def loose(job: Job[Loose]) -> Any:
            return object()

        return [add, keep, flaky, hold, wait, loose]


QUEUES = (
    QueueSpec("sums", concurrency=4, timeout=30, retry=Retry(attempts=3, backoff=Fixed(0))),
    QueueSpec("notes", concurrency=1),
)


def make_kit(url: str, stage: Stage | None = None, **settings: Any) -> JobKit:
    """A kit on this server; its processors play on the stage."""
    return JobKit(Settings(redis_url=url, **settings), queues=QUEUES, processors=(stage or Stage()).processors())


class Limited(Payload, name="notes.limited", queue="notes"):
    """Its fields have bounds and defaults."""

    count: int = Field(default=1, ge=1)
