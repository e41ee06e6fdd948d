"""`jobkit soak`: kills workers for a while and accounts for every job."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from jobkit.cli.tables import Cell, Column, print_table

if TYPE_CHECKING:
    from jobkit.soak import Account

_COLUMNS: Final = (Column(title="account"), Column(title="", align="right"), Column(title="", cut=True))
_NAMED: Final = 5
"""Jobs, or keys, that a broken promise is told with."""


@click.command(
    short_help="Kill workers for a while; account for every job.",
    epilog="""\b
Examples:
  jobkit soak --minutes 1
  jobkit soak --minutes 10 --redis-url redis://localhost:6379/15 --lease 30 --kill-every 5
""",
)
@click.option("--minutes", type=float, metavar="N", required=True, help="How long jobs come in and workers are killed.")
@click.option("--redis-url", metavar="URL", help="The server, an empty database. Default: one that is started for it.")
@click.option("--workers", type=int, metavar="N", default=4, show_default=True, help="Worker processes at a time.")
@click.option("--jobs", type=int, metavar="N", default=20_000, show_default=True, help="Jobs to enqueue meanwhile.")
@click.option(
    "--kill-every", type=float, metavar="SECONDS", default=0.2, show_default=True, help="Time between two SIGKILLs."
)
@click.option("--lease", type=float, metavar="SECONDS", default=3.0, show_default=True, help="The workers' lease.")
@click.option("--concurrency", type=int, metavar="N", default=10, show_default=True, help="Slots of each worker.")
@click.option(
    "--job-seconds", type=float, metavar="SECONDS", default=0.02, show_default=True, help="How long a job takes."
)
@click.option("--spare-idle", is_flag=True, help="Kill only workers that hold a job.")
@click.option(
    "--away", type=float, metavar="SECONDS", default=0.0, help="Kill the server midway, for so long. Its own only."
)
@click.option(
    "--freeze", type=float, metavar="SECONDS", default=0.0, help="Stop the server midway, for so long. Its own only."
)
@click.option("--seed", type=int, metavar="N", help="Repeat what was left to chance in an earlier run.")
@click.option("--yes", is_flag=True, help="Run on a database that holds other data.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON.")
def soak(*, minutes: float, seed: int | None, yes: bool, as_json: bool, **options: Any) -> None:
    """Enqueue jobs, kill the workers that run them again and again, and account for every job in the end.

    It runs worker processes and jobs of its own, ends by itself and removes what it wrote. Exit code 0 when the account
    holds: nothing lost, nothing run twice but what was in hand at a kill, no record of a wrong owner, nothing left
    behind.
    """
    from jobkit import soak as soaking

    if seed is not None:
        options["seed"] = seed
    plan = soaking.Plan(seconds=minutes * 60, foreign_data=yes, **options)
    account = soaking.soak(plan, tell=lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(_as_json(account)))
    else:
        _print(account)
    sys.exit(0 if account.holds else 1)


def _as_json(account: Account) -> dict[str, Any]:
    restarts = {f"p{percent}": account.restart(percent) for percent in (50, 99, 100)}
    return {"holds": account.holds, **attrs.asdict(account), "restarts": {"jobs": len(account.restarts), **restarts}}


def _print(account: Account) -> None:
    rows = [
        _row("acknowledged", account.enqueued, f"and {account.expected - account.enqueued} follow-ups"),
        _row("finished", account.finished),
        _row("effects", account.effects),
        _row("lost", account.lost, bad=bool(account.lost)),
        _row("dead letters", account.dead_letters, "took down as many workers as a job may"),
        _row("run twice", account.run_twice, f"of {account.in_flight} in hand at kills and outages"),
        _row("unexplained", account.unexplained, bad=bool(account.unexplained)),
        _row("wrongly owned", account.wrongly_owned, bad=bool(account.wrongly_owned)),
        _row("leaked", account.leaked, bad=bool(account.leaked)),
        _row("kills", account.kills),
        _row("kill to restart", _seconds(account.restart(50)), f"median of {len(account.restarts)} jobs in hand"),
        _row("at most", _seconds(account.restart(100))),
    ]
    if account.longest_outage:
        rows.append(_row("server out", _seconds(account.longest_outage)))
    if account.bad_exits:
        rows.append(_row("bad exits", account.bad_exits, "workers that ended otherwise than told", bad=True))
    print_table(_COLUMNS, rows)
    verdict = "the account holds" if account.holds else "THE ACCOUNT DOES NOT HOLD"
    if not account.drained:
        verdict += ": jobs did not end"
    click.secho(f"{verdict}; {account.seconds:.0f} s", fg="green" if account.holds else "red", bold=True)


def _row(name: str, value: object, note: str = "", *, bad: bool = False) -> list[Cell]:
    if isinstance(value, list | tuple):
        note = ", ".join(map(str, value[:_NAMED])) if value else note
        value = len(value)
    return [Cell(name), Cell(f"{value}", colour="red" if bad else None), Cell(note, dim=not bad)]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
