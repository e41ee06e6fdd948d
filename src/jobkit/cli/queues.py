"""`jobkit queues`: how many jobs are where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import attrs
import click

from jobkit.cli.app import app_option, load_app
from jobkit.cli.tables import Cell, Column, print_table

if TYPE_CHECKING:
    from collections.abc import Container

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
    """List queues: the number of their jobs in each state, and of the workers that serve them; ! marks paused ones."""
    with load_app(app) as kit:
        counts, workers = kit.jobs.counts(), kit.jobs.workers()
        paused = {each.queue for each in kit.pauses() if each.queue and each.name is None and each.tag is None}
        declared = set(kit.queues.names)
    found = [
        {
            **attrs.asdict(each),
            "workers": sum(each.name in worker.queues for worker in workers),
            "paused": each.name in paused,
        }
        for each in counts
    ]
    if as_json:
        for each in found:
            click.echo(json.dumps(each))
        return
    print_table(
        _COLUMNS,
        [
            [_name(f"{each['name']}", declared, paused)]
            + [
                Cell(str(each[state]), colour=_COLOURS.get(state)) if each[state] else Cell("0", dim=True)
                for state in _STATES
            ]
            for each in found
        ],
    )
    if any(each["name"] not in declared for each in found):
        click.echo("* not declared by this app", err=True)
    if any(each["paused"] for each in found):
        click.echo("! paused: `jobkit pauses` says by whom and why", err=True)


def _name(name: str, declared: Container[str], paused: Container[str]) -> Cell:
    marks = ("" if name in declared else "*") + ("!" if name in paused else "")
    return Cell(name + marks, colour="yellow" if name in paused else None)
