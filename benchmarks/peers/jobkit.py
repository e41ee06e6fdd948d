"""jobkit, with everything on that a user has by default; BENCH_VARIANT is `threads`, `async` or `isolated`.

BENCH_KEEP keeps that many finished jobs, where what they cost is to be measured.
"""

import asyncio
import itertools
import os
import time
import types
from typing import Any, Final

from benchmarks.peers import jobs
from jobkit import Job, JobKit, Payload, QueueSpec, Retention, processor
from jobkit.processors import Processor

VARIANT: Final = os.environ.get("BENCH_VARIANT", "threads")
KEEP: Final = os.environ.get("BENCH_KEEP")


class Event(Payload[float], abstract=True):
    """What `jobs.data` gives, declared."""

    v: float
    user: str
    event: str
    amount: int
    tags: list[str]
    note: str


class Noop(Event, name="noop", queue=jobs.QUEUE):
    """For a job that does nothing."""


class Sleep(Event, name="sleep", queue=jobs.QUEUE):
    """For a job that waits."""


@processor(Noop)
def noop(job: Job[Noop]) -> float:
    """Do nothing."""
    return jobs.record(job.payload.v, time.monotonic())


@processor(Sleep)
def sleep(job: Job[Sleep]) -> float:
    """Wait in a thread."""
    start = time.monotonic()
    time.sleep(jobs.SLEEP)
    return jobs.record(job.payload.v, start)


@processor(Noop)
async def async_noop(job: Job[Noop]) -> float:
    """Do nothing, on the event loop."""
    return jobs.record(job.payload.v, time.monotonic())


@processor(Sleep)
async def async_sleep(job: Job[Sleep]) -> float:
    """Wait on the event loop."""
    start = time.monotonic()
    await asyncio.sleep(jobs.SLEEP)
    return jobs.record(job.payload.v, start)


def noop_of(queue: str) -> Processor[Any, Any, Any]:
    """Declare the job that does nothing once more, for one of many queues."""
    kind: Any = types.new_class("Noop", (Event,), {"name": f"noop-{queue}", "queue": queue})

    def threaded(job: Job[kind]) -> float:
        return jobs.record(job.payload.v, time.monotonic())

    async def on_loop(job: Job[kind]) -> float:
        return jobs.record(job.payload.v, time.monotonic())

    return processor(kind)(on_loop if VARIANT == "async" else threaded)


def processors() -> list[Processor[Any, Any, Any]]:
    """Give what the queues need."""
    if jobs.QUEUES > 1:
        return [noop_of(name) for name in jobs.names()]
    return [async_noop, async_sleep] if VARIANT == "async" else [noop, sleep]


def create_kit() -> JobKit:
    """Make the kit, for the producer and for `jobkit worker`."""
    specs = [
        QueueSpec(
            name,
            concurrency=jobs.CONCURRENCY,
            isolation="process" if VARIANT == "isolated" else "thread",
            retention=Retention(completed=int(KEEP)) if KEEP else Retention(),
        )
        for name in jobs.names()
    ]
    return JobKit(queues=specs, processors=processors())


class Client:
    """Enqueues; to several queues, one after another."""

    def __init__(self) -> None:
        self.kit = create_kit()
        kinds: list[Any] = [each.payload for each in processors()]
        self.turns = {
            "noop": itertools.cycle(kinds if jobs.QUEUES > 1 else [Noop]),
            "sleep": itertools.cycle([Sleep]),
        }

    def prepare(self, job: str, data: dict[str, Any]) -> Event:
        """Make the payload."""
        made: Event = next(self.turns[job])(**data)
        return made

    def open(self) -> None:
        """Connect."""
        self.kit.store.check()

    def enqueue(self, _job: str, payload: Event) -> None:
        """Enqueue one."""
        self.kit.enqueue(payload)

    def bulk(self, _job: str, many: list[Event]) -> None:
        """Enqueue many."""
        self.kit.enqueue_many(many)

    def close(self) -> None:
        """Disconnect."""
        self.kit.close()
