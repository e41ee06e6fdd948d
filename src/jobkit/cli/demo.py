"""`jobkit demo`: the time tracker's invoices, from an image to a record, on a server of its own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click


@click.command(short_help="Show an app at work: invoices are read.")
@click.option(
    "--invoices", type=click.IntRange(min=1, max=500), metavar="NUMBER", default=12, show_default=True, help="How many."
)
def demo(invoices: int) -> None:
    """Read a batch of invoices with real OCR, in real workers, and show the queues meanwhile.

    Needs the extras `demo` and `embedded`; nothing else runs or is changed on this machine.
    """
    from rich.console import Console

    sys.exit(_example().run_demo(Console(), invoices=invoices))


def _example() -> Any:
    """The example's demo: beside the package where that was installed, in `examples/` of a source tree."""
    tree = Path(__file__).resolve().parents[3] / "examples"
    try:
        if (tree / "time_tracker").is_dir():
            sys.path.insert(0, str(tree))
            return importlib.import_module("time_tracker.demo")
        return importlib.import_module("jobkit.examples.time_tracker.demo")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the demo needs {error.name}, which is not installed: pip install 'jobkit[demo,embedded]'"
        ) from error
