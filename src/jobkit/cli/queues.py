"""`jobkit queues`: how many jobs are where."""

from __future__ import annotations

import json
from typing import Final

import attrs
import click

from jobkit.cli.app import app_option, load_app
from jobkit.cli.tables import Cell, Column, print_table

_STATES: Final = {
    "queued": "queued",
    "started": "run",
    "scheduled": "sched",
    "deferred": "defer",
    "finished": "done",
    "failed": "failed",
    "canceled": "cancel",
    "workers": "work",
}
_COLOURS: Final = {"started": "cyan", "failed": "red"}
_COLUMNS: Final = (
    Column(title="queue"),
    *(Column(title=title, short=short, align="right") for title, short in _STATES.items()),
)


@click.group()
def queues() -> None:
    """Look at queues."""


@queues.command(short_help="List queues.")
@app_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a queue a line.")
def ls(app: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """List queues: the number of their jobs in each state, and of the workers that serve them."""
    with load_app(app) as kit:
        counts, workers = kit.jobs.counts(), kit.jobs.workers()
        declared = set(kit.queues.names)
    found = [
        {**attrs.asdict(each), "workers": sum(each.name in worker.queues for worker in workers)} for each in counts
    ]
    if as_json:
        for each in found:
            click.echo(json.dumps(each))
        return
    print_table(
        _COLUMNS,
        [
            [Cell(each["name"] if each["name"] in declared else f"{each['name']}*")]
            + [
                Cell(str(each[state]), colour=_COLOURS.get(state)) if each[state] else Cell("0", dim=True)
                for state in _STATES
            ]
            for each in found
        ],
    )
    if any(each["name"] not in declared for each in found):
        click.echo("* not declared by this app", err=True)
