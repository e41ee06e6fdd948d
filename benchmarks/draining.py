"""One worker works off what waits: jobs a second from the first start to the last end, and what each job costs."""

import time
from collections.abc import Callable
from typing import Final

from benchmarks.processes import Worker, cpu_seconds, pss_bytes
from benchmarks.stage import NONE, Env, Stage
from benchmarks.systems import System

PER: Final = 10_000
"""CPU seconds are told per so many jobs."""


def drain(
    stage: Stage, system: System, count: int, slots: int, *, job: str = "noop", env: Env = NONE
) -> dict[str, float]:
    """Enqueue on an empty server, then work that off."""
    count = min(count, system.most or count)
    stage.fresh(system)
    stage.fill(system, count, job=job, env=env)
    return work_off(stage, system, count, slots, env)


def work_off(
    stage: Stage,
    system: System,
    count: int,
    slots: int,
    env: Env = NONE,
    then: Callable[[Worker], dict[str, float]] = lambda _: {},
) -> dict[str, float]:
    """Start a worker on what waits, until so many jobs ended; `then` measures more with the same worker.

    CPU counts from when the first jobs were seen to `settle` seconds after the last, for the worker and all it started:
    its start is left out, late acknowledgements are in.
    """
    stage.forget()
    before = stage.server.counters()
    first = {"seen": 0, "cpu": 0.0}
    with stage.worker(system, slots, env) as worker:
        stage.wait(worker, count, lambda seen: first.update(seen=seen, cpu=cpu_seconds(worker.pids())))
        time.sleep(stage.sizes.settle)
        ended, pids = stage.done(), worker.pids()
        cpu, pss = cpu_seconds(pids), pss_bytes(pids)
        used = stage.server.counters().since(before)
        records = sorted(stage.ran(), key=lambda each: each[2])[:count]
        more = then(worker)
    distinct = len({value for value, _, _ in records})
    took = records[-1][2] - min(start for _, start, _ in records)
    return {
        "jobs": count,
        "per_s": count / took,
        "worker_cpu_per_10k": (cpu - first["cpu"]) / max(1, ended - first["seen"]) * PER,
        "redis_cpu_per_10k": used.cpu / ended * PER,
        "reads": used.reads / ended,
        "commands": used.commands / ended,
        "pss_mb": pss / 2**20,
        "processes": len(pids),
        "run_twice": count - distinct,
        **more,
    }


def retained(stage: Stage, system: System, count: int, slots: int) -> dict[str, float]:
    """Measure what a finished job keeps in the server's memory, where all are kept."""
    count = min(count, system.most or count)
    stage.fresh(system)
    before = stage.server.counters().memory
    keep = {"BENCH_KEEP": str(count)}
    stage.fill(system, count, env=keep)
    work_off(stage, system, count, slots, keep)
    return {"finished_bytes": (stage.server.counters().memory - before) / count}
