"""A server that is stopped (SIGSTOP): it keeps its connections, answers nothing, and carries on where it was."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobkit.errors import StoreUnavailable
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.policies import Fixed, Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from tests.outage.servers import PATIENCE, Server
from tests.worker.conftest import Bench, Gate


class Run(Payload[int], name="run", queue="q"):
    n: int = 0


class ARun(Payload[int], name="arun", queue="q"):
    n: int = 0


def test_frozen_and_back(bench: Callable[..., Bench], server: Server, gate: Gate) -> None:
    """Jobs in hand when the server stops end, are recorded when it returns, and run once; so do those that waited."""
    spec = QueueSpec("q", concurrency=4, retry=Retry(attempts=2, backoff=Fixed(0.01)))
    b = bench(f"unix://{server.folder}/s?socket_timeout=2", spec)
    runs: list[Any] = []
    entered = threading.Event()

    @processor(Run)
    def run(job: Job[Run]) -> int:
        runs.append((job.payload.n, job.attempt))
        if job.payload.n < 2 and job.attempt == 1:
            gate.enter()
        if job.payload.n == 1 and job.attempt == 1:
            raise ValueError("once")
        return job.payload.n

    @processor(ARun)
    async def arun(job: Job[ARun]) -> int:
        runs.append(("a", job.attempt))
        entered.set()
        await asyncio.to_thread(gate.enter)
        return job.payload.n

    b.started(run, arun)
    handles = [b.enqueue(Run(n=0)), b.enqueue(Run(n=1)), b.enqueue(ARun(n=7)), b.enqueue(Run(n=3), delay=0.5)]
    for _ in range(3):
        gate.wait_entered()
    assert entered.is_set()
    server.freeze()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no usable answer from Redis"):
        b.enqueue(Run(n=4), job_id="uncertain")
    assert time.monotonic() - began < 4
    gate.open()
    b.lines.wait_for("cannot record how jobs ended; keeping it and trying again")
    server.thaw()
    b.lines.wait_for("recording again")
    handles.append(b.enqueue(Run(n=4), job_id="uncertain"))
    assert [each.result(PATIENCE) for each in handles] == [0, 1, 7, 3, 4]
    assert sorted(map(str, runs)) == ["('a', 1)", "(0, 1)", "(1, 1)", "(1, 2)", "(3, 1)", "(4, 1)"]
