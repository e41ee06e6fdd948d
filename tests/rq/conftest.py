"""A jobkit application and a plain RQ client on one server."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import rq
from redis import Redis

from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from tests.store.world import World
from tests.worker.conftest import PATIENCE, Bench, Gate, Lines, bench, gate, lines, make_bench, spin

__all__ = ["Gate", "Lines", "bench", "gate", "lines", "make_bench", "spin"]

FUNCTIONS = "tests.rq.functions"


class Add(Payload[int], name="add", queue="q"):
    a: int
    b: int = 0


@processor(Add)
def add(job: Job[Add]) -> int:
    return job.payload.a + job.payload.b


@attrs.define
class Side:
    """Both sides: a bench with one queue named q, and RQ's client of it."""

    bench: Bench
    redis: Redis

    def queue(self, name: str = "q") -> rq.Queue:
        return rq.Queue(name, connection=self.redis, serializer="json")

    def enqueue(self, function: str, *args: Any, **options: Any) -> rq.job.Job:
        """Enqueue one of the functions beside this file."""
        return self.queue().enqueue(f"{FUNCTIONS}.{function}", *args, **options)

    def fetch(self, job_id: str) -> rq.job.Job:
        return rq.job.Job.fetch(job_id, connection=self.redis, serializer="json")

    def start(self, *allowed: str, **options: Any) -> Any:
        """Start a jobkit worker that may call the functions beside this file."""
        patterns = allowed or (f"{FUNCTIONS}.*",)
        return self.bench.started(options.pop("processor", add), rq_functions=patterns, **options)

    def result(self, job_id: str) -> Any:
        return self.bench.client.handle(job_id).result(PATIENCE)

    def told(self, times: int = 1) -> list[str]:
        """Wait for what functions and callbacks told, in their order."""
        found = [self.redis.blpop(["told"], timeout=PATIENCE) for _ in range(times)]
        assert all(found), found
        return [each[1].decode() for each in found if each]

    def hash(self, job_id: str) -> dict[str, str]:
        return {k.decode(): v.decode(errors="replace") for k, v in self.redis.hgetall(f"rq:job:{job_id}").items()}


@pytest.fixture
def side(bench: Callable[..., Bench], store_url: str) -> Iterator[Side]:
    """Give both sides, without a worker."""
    made = bench(QueueSpec("q", concurrency=4), QueueSpec("other", concurrency=2))
    redis = Redis.from_url(store_url)
    yield Side(made, redis)
    redis.close()


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    """Give a store on an empty server."""
    made = World(store_url)
    yield made
    made.close()
