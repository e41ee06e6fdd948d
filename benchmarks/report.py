"""Runs as Markdown: medians and ranges over the rounds, ratios within a round."""

import statistics
from collections.abc import Iterable
from typing import Any, Final

from benchmarks.rows import ROWS, Row
from benchmarks.systems import SYSTEMS

COLUMNS: Final = {
    "per_s": "jobs/s",
    "few_per_s": "without",
    "kept": "left of it",
    "p50_ms": "p50 ms",
    "few_p50_ms": "without",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "redis_cpu_per_10k": "server CPU s/10,000",
    "few_redis_cpu_per_10k": "without",
    "reads": "reads a job",
    "commands": "commands a job",
    "processes": "processes",
    "server_percent": "server, % of a core",
    "commands_per_s": "commands/s",
    "push_cpu_ms": "CPU ms of all workers a push",
    "one_push_cpu_ms": "of one worker",
    "push_wakeups": "wake-ups a push",
    "one_push_wakeups": "of one worker",
}
"""What figures are called above their columns."""
Runs = dict[str, dict[int, dict[str, float]]]
"""Figures by system and round."""


def short(value: float) -> str:
    """Three digits that count, at most."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """Give the median, and the range where there is one."""
    if not values:
        return "-"
    middle, least, most = short(statistics.median(values)), short(min(values)), short(max(values))
    return middle if least == most else f"{middle} ({least}-{most})"


def runs_of(document: dict[str, Any], workload: str, placement: str) -> Runs:
    """Give the runs of a workload that succeeded, in the systems' own order."""
    found: Runs = {}
    for run in document["runs"]:
        if run["workload"] == workload and run["placement"] == placement and "figures" in run:
            found.setdefault(run["system"], {})[run["round"]] = run["figures"]
    return {name: found[name] for name in SYSTEMS if name in found}


def ratios(runs: Runs, system: str, base: str, figure: str) -> list[float]:
    """Divide by the base of the same round."""
    return [
        figures[figure] / runs[base][number][figure]
        for number, figures in runs[system].items()
        if runs[base].get(number, {}).get(figure)
    ]


def table(header: list[str], lines: Iterable[list[str]]) -> str:
    """Lay out a table."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *lines])


def heading(figure: str, row: Row) -> str:
    """Name a column."""
    return COLUMNS.get(figure, row.unit)


def section(document: dict[str, Any], row: Row, placement: str) -> str:
    """Give a row's table, or nothing where nothing was run for it."""
    runs = runs_of(document, row.workload, placement)
    if not runs:
        return ""
    bases = [base for base in row.bases if base in runs and len(runs) > 1]
    header = ["", *(heading(figure, row) for figure in row.figures), *(f"/ {base}" for base in bases)]
    lines = []
    for system, by_round in runs.items():
        cells = [spread([each[figure] for each in by_round.values() if figure in each]) for figure in row.figures]
        cells += [spread(ratios(runs, system, base, row.figures[0])) for base in bases]
        lines.append([system, *cells])
    direction = "more" if row.more_is_better else "less"
    title = row.title.format(**document["plan"]["sizes"])
    return f"### {title} (`{row.name}`), {placement}\n\n{table(header, lines)}\n\n{direction.title()} is better.\n"


def sections(document: dict[str, Any]) -> Iterable[str]:
    """Give all tables of the document."""
    for name in document["plan"]["rows"]:
        row = ROWS[name]
        for placement in [row.placement] if row.placement else document["plan"]["placements"]:
            if text := section(document, row, placement):
                yield text


def notes(document: dict[str, Any]) -> Iterable[str]:
    """Say what did not run, and what did not run quite right."""
    if document["absent"]:
        yield f"Skipped, since `./dev bench peers` has not made them: {', '.join(document['absent'])}."
    for run in document["runs"]:
        where = f"{run['workload']}, {run['system']}, round {run['round']}, {run['placement']}"
        if "failed" in run:
            yield f"Failed: {where}: {' '.join(run['failed'].split())}"
        elif run["figures"].get("run_twice"):
            yield f"Ran {run['figures']['run_twice']:.0f} jobs more than once: {where}."


def markdown(document: dict[str, Any]) -> str:
    """Give the tables and the notes."""
    told = "".join(f"- {note}\n" for note in notes(document))
    return "\n".join([*sections(document), told]).rstrip() + "\n"
