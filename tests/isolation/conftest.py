"""A bench whose queue runs its jobs in child processes, and signals from these: lists in Redis, and their deaths."""

import os
import select
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import pytest

from jobkit.policies import Fixed, Retry
from jobkit.queues import QueueSpec
from tests.isolation.jobs import arun, run
from tests.worker.conftest import PATIENCE, Bench, Lines, lines, make_bench

__all__ = ["lines"]

ONCE = Retry(attempts=1)
TWICE = Retry(attempts=2, backoff=Fixed(0))


@attrs.define
class Isolated:
    """A bench, and what its children tell."""

    bench: Bench

    @property
    def lines(self) -> Lines:
        return self.bench.lines

    def start(self, *processors: Any, **options: Any) -> Any:
        return self.bench.started(*(processors or (run, arun)), **options)

    def enqueue(self, payload: Any, **options: Any) -> Any:
        return self.bench.enqueue(payload, **options)

    def result(self, payload: Any) -> Any:
        return self.bench.enqueue(payload).result(PATIENCE)

    def entered(self) -> list[int]:
        """The process ids that the next job tells of, when it runs."""
        told = self.bench.redis("BLPOP", "entered", PATIENCE)
        assert told, self.lines.messages()
        return [int(each) for each in told[1].split()]

    def go(self) -> None:
        self.bench.redis("RPUSH", "go", "x")


@pytest.fixture
def isolated(store_url: str, lines: Lines) -> Iterator[Callable[..., Isolated]]:
    """Make benches; each has an isolated queue named q."""
    made: list[Bench] = []

    def make(beside: Sequence[QueueSpec] = (), **options: Any) -> Isolated:
        spec = QueueSpec("q", isolation="process", **{"concurrency": 2, "retry": ONCE, **options})
        bench = make_bench(store_url, lines, [spec, *beside])
        made.append(bench)
        return Isolated(bench)

    yield make
    for bench in made:
        for worker in bench.workers:
            worker.stop(now=True)
        for worker in bench.workers:
            assert worker.join(PATIENCE)
        bench.store.close()


class Watched:
    """Processes whose deaths are waited for."""

    def __init__(self, pids: list[int]) -> None:
        self._descriptors = [os.pidfd_open(pid) for pid in pids]

    def wait_gone(self) -> None:
        for descriptor in self._descriptors:
            ready, _, _ = select.select([descriptor], [], [], PATIENCE)
            assert ready, "a process lives on"

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


@pytest.fixture
def watch() -> Iterator[Callable[[list[int]], Watched]]:
    """Watch processes; Linux alone tells of the death of a process that is not one's child."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("needs pidfd_open (Linux 5.3 or later): how else to wait for a process that is no child")
    made: list[Watched] = []

    def start(pids: list[int]) -> Watched:
        made.append(Watched(pids))
        return made[-1]

    yield start
    for each in made:
        each.close()
