"""Write docs/benchmarks.md from the JSON of runs: what was run, where, how, and the tables."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from benchmarks.environments import ROOT
from benchmarks.report import markdown

PAGE: Final = ROOT / "docs" / "benchmarks.md"
HEAD: Final = """\
# Benchmarks

jobkit beside other job queues on Redis, measured in the same run on the same machine. This page is written by `./dev
bench page` from what `./dev bench` measured; [the last part](#run-them-yourself) says how to do that yourself.

- Every job does the same: it appends one record of 24 bytes (value, start, end) to a file in memory with one write.
  Every payload carries the same, about 150 bytes of JSON unless a table says otherwise.
- Each system has a producer process and a worker process of its own, and a freshly emptied server. Systems alternate
  within each round, in an order that moves on. Told are medians over the rounds, with the range in brackets; ratios
  are taken within a round, then their median.
- jobkit runs as a user has it by default: `jobkit worker` with fencing, leases, retention, results and structured
  logs at their default level. `async` has async processors, `threads` plain ones, `isolated` a child process for each
  slot, `2p` is `--processes 2`.
- The server writes no file. For jobkit it has `hash-max-listpack-value 512`, as the embedded server has it, and
  Redis's default of 64 for the others: a job's hash with a longer field then stays packed, which saves memory.
  `jobkit-async-listpack64` is jobkit on the default.
- *Unpinned* is the machine as it is; *pinned* is everything, the server too, on one core. Ratios differ between the
  two: a worker with many round trips is faster pinned.
- A drain is timed from the start of its first job to the end of its last. CPU counts from when the first jobs were
  seen to {settle} s after the last. Server reads are close to round trips. `rq-simple` and `rq-fork` drain fewer
  jobs, since they would take minutes; figures are a job.
- A job is picked up by an idle worker: from just before the enqueue call to the first line of the job.
- What the systems promise differs. huey and celery by default take a job off before it runs, so that a crash loses
  it; dramatiq, celery, huey and taskiq keep less of a finished job, or nothing.
"""
TAIL: Final = """\
## Run them yourself

```console
$ ./dev bench peers
$ ./dev bench table --placement both --json table.json
$ ./dev bench growth --json growth.json
$ ./dev bench page table.json growth.json
```

`./dev bench` lists the rows; each is a benchmark by its name. `--systems`, `--rounds` and the sizes make a run
shorter; `--server valkey` takes the embedded server's program; `--delay 0.5` puts a proxy that adds half a
millisecond to a round trip before the server, as if it were on another host. Without `./dev bench peers`, which
installs the others in environments of their own, jobkit is measured beside RQ alone. Leave the machine alone
meanwhile: a run waits for a quiet machine, but not for ever, and the JSON has what others used (`foreign_cores`).
"""


def about(document: dict[str, Any]) -> str:
    """Say what was run, where, and with which versions."""
    machine, plan = document["machine"], document["plan"]
    server = f"{document['server']['kind']} {document['server']['version']}"
    lines = [
        f"- `{document['command']}`, {document['started']}, {plan['rounds']} round{'s' if plan['rounds'] > 1 else ''}",
        f"- {machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel'].partition('-')[0]}",
        f"- Python {machine['python']}, {server}",
        f"- {', '.join(told(name, version) for name, version in document['versions'].items())}",
    ]
    if way := document.get("delay"):
        lines.append(f"- a round trip takes {way['trip_ms']:.2f} ms through the proxy, {way['direct_ms']:.2f} without")
    disturbed = [run for run in document["runs"] if run["foreign_cores"] > plan["quiet"]]
    if disturbed:
        lines.append(
            f"- others used more than {plan['quiet']} cores during {len(disturbed)} of {len(document['runs'])} runs"
        )
    return "\n".join(lines) + "\n"


def told(name: str, version: str) -> str:
    """Give a version; a peer's packages are named with theirs."""
    return (
        version.replace("==", " ").replace("@", " ")
        if version.startswith(name.partition("-")[0])
        else f"{name} {version}"
    )


def page(documents: list[dict[str, Any]]) -> str:
    """Give the page."""
    parts = [HEAD.format(settle=documents[0]["plan"]["sizes"]["settle"])]
    for number, document in enumerate(documents, start=1):
        title = "## Figures" if len(documents) == 1 else f"## Figures, run {number}"
        parts += [title + "\n", about(document), markdown(document)]
    return "\n".join([*parts, TAIL])


def main(arguments: list[str]) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="./dev bench page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="JSON", help="written by --json of a measurement")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    options.out.write_text(page([json.loads(path.read_text()) for path in options.runs]))
