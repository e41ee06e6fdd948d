"""Servers to be killed, stopped and failed over; and benches on them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobkit.queues import QueueSpec
from tests.outage.servers import Server, Watched, lone_server
from tests.worker.conftest import PATIENCE, Bench, Lines, gate, lines, make_bench

__all__ = ["gate", "lines"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder with a short name: a socket's path holds 104 bytes at most."""
    found = Path(tempfile.mkdtemp(prefix="jk-"))
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.fixture
def bench(lines: Lines) -> Iterator[Callable[..., Bench]]:
    """Make benches on a server of the test's own."""
    made: list[Bench] = []

    def make(url: str, *specs: QueueSpec) -> Bench:
        bench = make_bench(url, lines, list(specs) or [QueueSpec("q", concurrency=4)])
        made.append(bench)
        return bench

    yield make
    for each in made:
        for worker in each.workers:
            worker.stop(now=True)
        for worker in each.workers:
            assert worker.join(PATIENCE)
        each.store.close()


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """Give one running server."""
    made = lone_server(folder)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def watched(folder: Path) -> Iterator[Watched]:
    """Give a master, a replica and their Sentinel, running."""
    made = Watched(folder)
    try:
        made.start()
        yield made
    finally:
        made.close()
