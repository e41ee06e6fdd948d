"""`./dev bench NAME`: measure a row of the table, or all; make the peers' environments; write the page."""

import argparse
import importlib
import shlex
import signal
import sys
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.rows import GROUPS, ROWS
from benchmarks.servers import NoServer
from benchmarks.stage import Sizes
from benchmarks.systems import SYSTEMS

PROGRAMS: Final = {
    "peers": ("environments", "make the environments of the peers"),
    "page": ("page", "write docs/benchmarks.md from the JSON of a run"),
    "imports": ("imports", "what importing each public name costs"),
    "fence": ("fence", "interruptions that land outside of their attempt"),
    "budget": ("budget", "where the time of a job goes, in microseconds"),
    "limits": ("limits", "rate limits and mutexes, counted from outside while workers are killed"),
}
"""What is no row: its module, and what it does."""
FILES: Final = ("--json", "--markdown")


def listing() -> str:
    """Say what there is."""
    lines = [f"  {name:16} {row.title.format(**attrs.asdict(Sizes()))}, {row.unit}" for name, row in ROWS.items()]
    lines += [f"  {name:16} all of {', '.join(rows[:3])}, ..." for name, rows in GROUPS.items()]
    lines += [f"  {name:16} {told}" for name, (_, told) in PROGRAMS.items()]
    return "./dev bench NAME [OPTION ...]\n\n" + "\n".join(lines) + "\n\n./dev bench NAME --help lists the options."


def sizes_from(given: argparse.Namespace) -> Sizes:
    """Take the sizes that were given; the others are as the table says."""
    chosen = {field.name: getattr(given, field.name) for field in attrs.fields(Sizes)}
    return Sizes(**{name: value for name, value in chosen.items() if value is not None})


def parser(name: str) -> argparse.ArgumentParser:
    """Give the options of a measurement."""
    made = argparse.ArgumentParser(prog=f"./dev bench {name}", allow_abbrev=False)
    made.add_argument("--systems", help=f"separated by commas, of {', '.join(SYSTEMS)}; all that can run without")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--placement", choices=["unpinned", "pinned", "both"], default="unpinned")
    made.add_argument("--server", choices=["redis", "valkey"], default="redis", help="Debian's, or the embedded one")
    made.add_argument("--delay", type=float, default=0.0, help="milliseconds that a proxy adds to a round trip")
    made.add_argument("--patience", type=float, default=15.0, help="seconds to wait for a quiet machine before a run")
    made.add_argument("--retries", type=int, default=0, help="repeats of a run that others disturbed")
    made.add_argument("--json", type=Path, help="where to write every run")
    made.add_argument("--markdown", type=Path, help="where to write the tables, besides the output")
    sizes = made.add_argument_group("sizes")
    for field in attrs.fields(Sizes):
        kind: Any = type(field.default)
        many = {"nargs": "+", "type": int} if kind is tuple else {"type": kind}
        sizes.add_argument(f"--{field.name.replace('_', '-')}", help=f"{field.default}", **many)
    return made


def without_files(arguments: list[str]) -> list[str]:
    """Give the words of a command that matter to anybody else: where its files are does not."""
    words = iter(arguments)
    kept = []
    for word in words:
        if word in FILES:
            next(words)
        elif not word.startswith(tuple(f"{option}=" for option in FILES)):
            kept.append(word)
    return kept


def measure(name: str, arguments: list[str]) -> None:
    """Measure and print the tables."""
    from benchmarks.report import markdown
    from benchmarks.session import Plan, perform

    options = parser(name).parse_args(arguments)
    systems = tuple(options.systems.split(",")) if options.systems else ()
    unknown = [each for each in systems if each not in SYSTEMS]
    if unknown:
        sys.exit(f"unknown system {unknown[0]!r}; there are {', '.join(SYSTEMS)}")
    plan = Plan(
        rows=GROUPS.get(name, (name,)),
        systems=systems,
        rounds=options.rounds,
        placements=("unpinned", "pinned") if options.placement == "both" else (options.placement,),
        server=options.server,
        delay=options.delay,
        patience=options.patience,
        retries=options.retries,
        sizes=sizes_from(options),
    )
    if plan.absent():
        print(f"skipped: {', '.join(plan.absent())} (./dev bench peers makes their environments)", file=sys.stderr)
    try:
        document = perform(plan, shlex.join(["./dev", "bench", name, *without_files(arguments)]), options.json)
    except NoServer as error:
        sys.exit(str(error))
    text = markdown(document)
    if options.markdown:
        options.markdown.write_text(text)
    print(text)
    if any("failed" in run for run in document["runs"]):
        sys.exit(1)


def main() -> None:
    """Run what is named; without a name, say what there is."""
    # Ended from outside, it ends what it has started, as at Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in PROGRAMS:
        importlib.import_module(f"benchmarks.{PROGRAMS[name][0]}").main(sys.argv[2:])
    elif name in ROWS or name in GROUPS:
        measure(name, sys.argv[2:])
    else:
        print(listing())
        sys.exit(0 if name in {"", "-h", "--help"} else 2)


if __name__ == "__main__":
    main()
