"""Runs workloads: systems alternate within each round, in an order that moves on, on one server of their own."""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.environments import ENVIRONMENTS
from benchmarks.processes import cpu_seconds, machine_seconds
from benchmarks.proxy import proxied
from benchmarks.rows import ROWS, WORKLOADS, Placement
from benchmarks.servers import private_server
from benchmarks.stage import Failed, Sizes, Stage
from benchmarks.systems import SYSTEMS, System, chosen

QUIET: Final = 0.35
"""Cores that others may use: a run with more is repeated, and the least disturbed is kept."""
LOOK: Final = 0.4
"""Seconds over which others are watched before a run."""


@attrs.frozen
class Plan:
    """What to run, and how."""

    rows: tuple[str, ...]
    systems: tuple[str, ...] = ()
    """Of each workload's; none for all of them."""
    rounds: int = 3
    placements: tuple[Placement, ...] = ("unpinned",)
    server: str = "redis"
    delay: float = 0.0
    """Milliseconds that a proxy adds to a round trip."""
    patience: float = 15.0
    """Seconds to wait for a quiet machine before each run."""
    retries: int = 0
    """Repeats of a run that others disturbed."""
    sizes: Sizes = attrs.Factory(Sizes)

    def work(self) -> list[tuple[Placement, str]]:
        """Give each workload with each placement, once."""
        pairs: dict[tuple[Placement, str], None] = {}
        for row in (ROWS[name] for name in self.rows):
            if self.delay and row.workload == "latency-unix":
                continue  # the proxy has no unix socket
            for placement in self.placements if row.placement is None else (row.placement,):
                pairs[placement, row.workload] = None
        return sorted(pairs, key=lambda pair: pair[0] == "pinned")

    def placements_used(self) -> list[Placement]:
        """Give the placements that there is something to run in."""
        return list(dict.fromkeys(placement for placement, _ in self.work()))

    def systems_of(self, workload: str) -> list[System]:
        """Give the systems of a workload that are asked for and can run."""
        names = [name for name in WORKLOADS[workload].systems if not self.systems or name in self.systems]
        return chosen(names)[0]

    def absent(self) -> list[str]:
        """Name those that are asked for and cannot run."""
        names = {name for _, workload in self.work() for name in WORKLOADS[workload].systems}
        return chosen([name for name in SYSTEMS if name in (self.systems or names)])[1]


def machine() -> dict[str, Any]:
    """Say where this runs."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def versions(systems: Iterable[System]) -> dict[str, str]:
    """Give the versions of what is measured."""
    own = {name: version(name) for name in ("jobkit", "rq", "redis")}
    peers = {each.environment: "" for each in systems if each.environment}
    return own | {name: " ".join(ENVIRONMENTS[name].packages) for name in peers}


def cores(placement: Placement) -> set[int]:
    """Give the cores that a placement uses: all that this process may, or the first of them."""
    allowed = os.sched_getaffinity(0)
    return allowed if placement == "unpinned" else {min(allowed)}


def await_quiet(patience: float) -> None:
    """Wait, but not for ever, until the rest of the machine is calm."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = machine_seconds()
        time.sleep(LOOK)
        if (machine_seconds() - before) / LOOK < QUIET:
            return


def measure(stage: Stage, workload: str, system: System) -> dict[str, Any]:
    """Run once, with what others used of the machine meanwhile."""
    run: dict[str, Any] = {"workload": workload, "system": system.name}
    began, busy, ours = time.monotonic(), machine_seconds(), sum(os.times()[:4])
    server = cpu_seconds([stage.server.pid])
    try:
        run["figures"] = {key: round(value, 5) for key, value in WORKLOADS[workload].run(stage, system).items()}
    except Failed as failure:
        run["failed"] = str(failure)
    seconds = time.monotonic() - began
    ours = sum(os.times()[:4]) - ours + cpu_seconds([stage.server.pid]) - server
    run["seconds"] = round(seconds, 2)
    run["foreign_cores"] = round(max(0.0, machine_seconds() - busy - ours) / seconds, 3)
    return run


def least_disturbed(stage: Stage, workload: str, system: System, plan: Plan) -> dict[str, Any]:
    """Run until others left it alone, at most `retries` times more."""
    runs: list[dict[str, Any]] = []
    while len(runs) <= plan.retries:
        await_quiet(plan.patience)
        runs.append(measure(stage, workload, system))
        if "failed" in runs[-1] or runs[-1]["foreign_cores"] <= QUIET:
            break
    return min(runs, key=lambda run: run["foreign_cores"])


def rounds(stage: Stage, plan: Plan, placement: Placement, keep: Callable[[dict[str, Any]], None]) -> None:
    """Run all rounds of one placement."""
    for number in range(plan.rounds):
        for workload in [workload for at, workload in plan.work() if at == placement]:
            systems = plan.systems_of(workload)
            turn = number * 5 % max(1, len(systems))
            for system in systems[turn:] + systems[:turn]:
                run = least_disturbed(stage, workload, system, plan)
                keep(run | {"round": number + 1, "placement": placement})


def perform(plan: Plan, command: str, save: Path | None = None) -> dict[str, Any]:
    """Carry out the plan; give all runs, written to a file after each."""
    systems = [each for _, workload in plan.work() for each in plan.systems_of(workload)]
    document: dict[str, Any] = {
        "command": command,
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": machine(),
        "versions": versions(systems),
        "plan": json.loads(json.dumps(attrs.asdict(plan))) | {"quiet": QUIET},
        "absent": plan.absent(),
        "runs": [],
    }

    def keep(run: dict[str, Any]) -> None:
        document["runs"].append(run)
        if save:
            save.write_text(json.dumps(document, indent=1) + "\n")
        shown = run.get("failed") or {key: run["figures"][key] for key in list(run["figures"])[:6]}
        print(f"{run['placement']} {run['round']} {run['workload']:14} {run['system']:20} {shown}", file=sys.stderr)

    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - memory, so that a record costs no disk
    everything = os.sched_getaffinity(0)
    for placement in plan.placements_used():
        os.sched_setaffinity(0, cores(placement))
        try:
            with (
                private_server(plan.server) as server,
                proxied(server.tcp, plan.delay) as way,
                tempfile.TemporaryDirectory(dir=shared, prefix="jk-bench-") as folder,
            ):
                if plan.delay:
                    document["delay"] = {"trip_ms": round(way.trip, 3), "direct_ms": round(way.direct, 3)}
                document["server"] = {"kind": server.kind, "version": server.version}
                stage = Stage(server, way.url, Path(folder), plan.sizes)
                rounds(stage, plan, placement, keep)
        finally:
            os.sched_setaffinity(0, everything)
    return document
