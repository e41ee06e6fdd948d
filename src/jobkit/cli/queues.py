"""`jobkit queues`: how many jobs are where."""

from __future__ import annotations

import json

import attrs
import click
from rich.console import Console
from rich.table import Table

from jobkit.cli.app import app_option, load_app


@click.group()
def queues() -> None:
    """Look at queues."""


@queues.command()
@app_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a queue a line.")
def ls(app: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """List the queues with the number of their jobs in each state, and the workers that serve them."""
    with load_app(app) as kit:
        counts, workers = kit.jobs.counts(), kit.jobs.workers()
        declared = set(kit.queues.names)
    if as_json:
        for each in counts:
            served = sum(each.name in worker.queues for worker in workers)
            click.echo(json.dumps({**attrs.asdict(each), "workers": served}))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("queue")
    for title in ("queued", "running", "scheduled", "deferred", "finished", "failed", "canceled", "workers"):
        table.add_column(title, justify="right")
    for each in counts:
        served = sum(each.name in worker.queues for worker in workers)
        numbers = (
            each.queued,
            each.started,
            each.scheduled,
            each.deferred,
            each.finished,
            each.failed,
            each.canceled,
            served,
        )
        name = each.name if each.name in declared else f"{each.name} (not declared by this app)"
        table.add_row(name, *(str(number) if number else "[dim]0[/]" for number in numbers))
    Console().print(table)
