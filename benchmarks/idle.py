"""Many idle workers on one queue: what they cost the server, and what a push costs those that do not get the job."""

import contextlib
import time
from pathlib import Path
from typing import Final

import attrs

from benchmarks.latency import delays
from benchmarks.processes import Worker, run_seconds
from benchmarks.servers import Counters
from benchmarks.stage import Failed, Stage, last
from benchmarks.systems import System

CALM: Final = 0.2
"""Cores that all workers may use together when they have started."""
LOOK: Final = 0.5
"""Seconds over which that is watched."""
START: Final = 180.0
"""Seconds that they may take to start."""
APART: Final = 0.25
"""Seconds between two pushes."""


@attrs.frozen
class Reading:
    """What server and workers have used by now."""

    at: float
    server: Counters
    cpu: float
    """Seconds of all workers."""
    wakeups: int
    """How often their threads waited for something, and got it."""

    @classmethod
    def take(cls, stage: Stage, workers: list[Worker]) -> "Reading":
        """Look at all of them."""
        pids = [pid for worker in workers for pid in worker.pids()]
        cpu = sum(run_seconds(pid) for pid in pids)
        return cls(time.monotonic(), stage.server.counters(), cpu, sum(switches(pid) for pid in pids))


def switches(pid: int) -> int:
    """Give how often a process's threads gave the core away by themselves."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            total += sum(
                int(line.split()[1])
                for line in status.read_text().splitlines()
                if line.startswith("voluntary_ctxt_switches")
            )
    return total


def await_calm(workers: list[Worker]) -> None:
    """Wait until all have started: none has ended, and together they do next to nothing."""
    deadline = time.monotonic() + START
    while True:
        before = sum(run_seconds(pid) for worker in workers for pid in worker.pids())
        time.sleep(LOOK)
        used = (sum(run_seconds(pid) for worker in workers for pid in worker.pids()) - before) / LOOK
        if ended := [worker for worker in workers if not worker.alive()]:
            raise Failed(f"{len(ended)} workers ended: {last(ended[0].told())}")
        if used < CALM:
            return
        if time.monotonic() > deadline:
            raise Failed(f"the workers use {used:.2f} cores {START:.0f} s after their start")


def rest(stage: Stage, workers: list[Worker], seconds: float) -> dict[str, float]:
    """Watch them do nothing; everything is told a second."""
    before = Reading.take(stage, workers)
    time.sleep(seconds)
    after = Reading.take(stage, workers)
    took, used = after.at - before.at, after.server.since(before.server)
    return {
        "server_percent": 100 * used.cpu / took,
        "commands_per_s": used.commands / took,
        "workers_percent": 100 * (after.cpu - before.cpu) / took,
        "wakeups_per_s": (after.wakeups - before.wakeups) / took,
    }


def push(stage: Stage, system: System, workers: list[Worker], resting: dict[str, float]) -> dict[str, float]:
    """Push a job now and then; give what a push costs beyond what they cost at rest."""
    stage.forget()
    before = Reading.take(stage, workers)
    stage.produce(system, "paced", stage.sizes.pushes, interval=APART)
    stage.wait(workers[0], stage.sizes.pushes)
    after = Reading.take(stage, workers)
    took = after.at - before.at
    cpu = after.cpu - before.cpu - took * resting["workers_percent"] / 100
    wakeups = after.wakeups - before.wakeups - took * resting["wakeups_per_s"]
    return {
        "push_cpu_ms": 1000 * cpu / stage.sizes.pushes,
        "push_wakeups": wakeups / stage.sizes.pushes,
        "p50_ms": delays(stage)["p50_ms"],
    }


def idle(stage: Stage, system: System, count: int, slots: int, seconds: float) -> dict[str, float]:
    """Measure the server alone, with one worker, and with all of them."""
    stage.fresh(system)
    alone = rest(stage, [], min(seconds, 3.0))
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(stage.worker(system, slots))]
        await_calm(workers)
        one = rest(stage, workers, seconds)
        pushed_one = push(stage, system, workers, one)
        workers += [stack.enter_context(stage.worker(system, slots)) for _ in range(count - 1)]
        await_calm(workers)
        many = rest(stage, workers, seconds)
        pushed_many = push(stage, system, workers, many)
        for worker in workers:
            worker.ask_to_stop()
    return {
        "workers": count,
        "alone_server_percent": alone["server_percent"],
        **{f"one_{key}": value for key, value in (one | pushed_one).items()},
        **many,
        **pushed_many,
    }
