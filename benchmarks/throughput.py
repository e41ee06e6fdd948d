"""Bulk enqueue and noop drain, beside rq's SimpleWorker in the same run.

Each measurement is a process of its own against a private server without persistence, on a unix socket; the systems
alternate within a round, and what is told is the median of the rounds. jobkit runs as a user has it by default: leases,
fencing, retention, results and logs at their default level. RQ's SimpleWorker does not fork; it is RQ's fastest.
"""

import argparse
import json
import statistics
import subprocess
import sys

from benchmarks.servers import private_server

PLAN = {
    "enqueue-bulk": 1.0,
    "enqueue-one": 0.25,
    "drain-threads": 1.0,
    "drain-async": 1.0,
    "drain-process": 0.5,
    "rq-simple": 0.05,
    "rq-forking": 0.02,
}
"""What is measured, and with which share of the jobs (the slow ones with fewer)."""
BASE = "rq-simple"
LIMIT = 600
"""Seconds after which a measurement is given up."""


def measure(what: str, jobs: int, slots: int) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    with private_server() as url:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.runs", what, url, str(jobs), str(slots)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT,
        )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(arguments: list[str]) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="./dev bench throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=PLAN, default=list(PLAN))
    options = parser.parse_args(arguments)
    rows: dict[str, list[dict[str, float]]] = {what: [] for what in options.only}
    for number in range(options.rounds):
        for what in options.only:
            jobs = max(200, round(options.jobs * PLAN[what]))
            result = measure(what, jobs, options.slots)
            rows[what].append(result)
            print(f"round {number + 1}  {what:14} {result['jobs_per_s']:>9,.0f} jobs/s", file=sys.stderr, flush=True)
    medians = {
        what: {name: statistics.median(each[name] for each in results) for name in results[0]}
        for what, results in rows.items()
    }
    base = medians.get(BASE, {}).get("jobs_per_s")
    print(f"{options.jobs:,} noop jobs, {options.slots} slots, medians of {options.rounds}")
    titles = f"{'jobs/s':>9} {'x rq-simple':>12} {'worker CPU s/10k':>17} {'Redis CPU s/10k':>16} {'reads/job':>10}"
    print(f"{'':14} {titles}")
    for what, row in medians.items():
        ratio = f"{row['jobs_per_s'] / base:.1f}" if base and what.startswith(("drain", "rq")) else ""
        cells = [row.get(name) for name in ("worker_cpu_s_per_10k", "redis_cpu_s_per_10k", "reads_per_job")]
        worker, server, reads = ("" if cell is None else f"{cell:.2f}" for cell in cells)
        print(f"{what:14} {row['jobs_per_s']:>9,.0f} {ratio:>12} {worker:>17} {server:>16} {reads:>10}")
