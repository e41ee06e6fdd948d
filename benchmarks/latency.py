"""An idle worker gets a job now and then: from just before the enqueue call to the start of the job."""

import time
from typing import Final

from benchmarks.processes import Worker
from benchmarks.stage import NONE, Env, Failed, Stage
from benchmarks.systems import SYSTEMS, System

WARM: Final = 20
"""Jobs before those that count."""
LOOKS: Final = 0.107
"""Seconds between two jobs of a plain client: out of step with a worker that looks ten times a second."""


def pick_up(stage: Stage, system: System, count: int, slots: int, *, unix: bool = False) -> dict[str, float]:
    """Measure on an empty server, over TCP or a unix socket."""
    return paced(stage.fresh(system, unix), system, count, slots)


def paced(stage: Stage, system: System, count: int, slots: int, env: Env = NONE) -> dict[str, float]:
    """Measure on the server as it is; the worker has run a few jobs before."""
    stage.forget()
    with stage.worker(system, slots, env) as worker:
        stage.produce(system, "one", WARM, base=-1e6, env=env)
        stage.wait(worker, WARM)
        time.sleep(stage.sizes.settle)
        return warm(stage, system, worker, count, env)


def warm(stage: Stage, system: System, worker: Worker, count: int, env: Env = NONE) -> dict[str, float]:
    """Measure with a worker that has run jobs before."""
    stage.forget()
    stage.produce(system, "paced", count, env=env)
    stage.wait(worker, count)
    return delays(stage)


def plain(stage: Stage, system: System, count: int, slots: int) -> dict[str, float]:
    """Measure a worker that gets its jobs from a plain RQ client."""
    client = SYSTEMS["rq-simple"]
    stage.fresh(system)
    json = {"BENCH_RQ_SERIALIZER": "json"} if system.module == "jobkit" else {}
    with stage.worker(system, slots, {"JOBKIT_RQ_FUNCTIONS": "benchmarks.peers.jobs.noop"}) as worker:
        stage.produce(client, "one", WARM, base=-1e6, env=json)
        stage.wait(worker, WARM)
        time.sleep(stage.sizes.settle)
        stage.produce(client, "paced", count, interval=LOOKS, env=json)
        stage.wait(worker, WARM + count)
    return delays(stage)


def delays(stage: Stage) -> dict[str, float]:
    """Give the percentiles in ms; a value is the time of the enqueue call, or negative for what does not count."""
    each = sorted((start - value) * 1000 for value, start, _ in stage.ran() if value > 0)
    if not each:
        raise Failed("no job ran that was measured")
    return {
        "p50_ms": each[len(each) // 2],
        "p95_ms": each[int(len(each) * 0.95)],
        "p99_ms": each[int(len(each) * 0.99)],
        "max_ms": each[-1],
    }
