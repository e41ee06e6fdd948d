"""`jobkit pause`, `resume`, `pauses`: what no worker of the cluster begins."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from jobkit.cli.app import app_option, load_app
from jobkit.cli.failures import Failure
from jobkit.cli.tables import Cell, Column, print_table, terminal_width
from jobkit.cli.tags import tag_option
from jobkit.cli.times import ago, read_moment, read_span
from jobkit.timing import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.pauses import Pause

_COLUMNS: Final = (
    Column(title="id"),
    Column(title="queue", spare=1),
    Column(title="job", spare=2),
    Column(title="tag", spare=3),
    Column(title="by", spare=4),
    Column(title="since", spare=6),
    Column(title="until", spare=5),
    Column(title="reason", spare=1, cut=True),
)


def _selecting(command: Any) -> Any:
    options: list[Callable[[Any], Any]] = [
        click.option("--queue", metavar="QUEUE", help="Jobs of this queue."),
        click.option("--name", metavar="NAME", help="Jobs of this name, as it was when they were enqueued."),
        tag_option("Jobs with this label."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    short_help="Have no worker begin some jobs.",
    epilog="""\b
Examples:
  jobkit pause --queue crm --reason "the CRM is down" --for 30m
  jobkit pause --name invoice.read --tag tenant=t_9 --reason "bad scans"
""",
)
@_selecting
@click.option("--reason", metavar="TEXT", default="", help="Shown to whoever asks what is paused.")
@click.option("--by", metavar="TEXT", help="Who pauses. Default: user@host.")
@click.option("--until", metavar="TIME", help="When it ends by itself: ISO 8601 with a timezone.")
@click.option("--for", "span", metavar="DURATION", help="After how long it ends by itself: 90s, 10m, 1h30m, 2d.")
@app_option
def pause(
    *,
    queue: str | None,
    name: str | None,
    tags: dict[str, str],
    reason: str,
    by: str | None,
    until: str | None,
    span: str | None,
    app: str | None,
) -> None:
    """Have no worker of the cluster begin jobs that fit all that is given, and print the pause's id.

    What runs goes on. Jobs keep their order and lose no attempt.
    """
    end = _end(until, span)
    with load_app(app) as kit:
        click.echo(kit.pause(queue=queue, name=name, tag=_tag(tags), reason=reason, until=end, by=by).id)


@click.command(short_help="End pauses.")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_selecting
@app_option
def resume(ids: tuple[str, ...], queue: str | None, name: str | None, tags: dict[str, str], app: str | None) -> None:
    """End the pauses of these ids, or all that were made with just these options.

    It exits with 1 where there is no such pause.
    """
    if bool(ids) == bool(queue or name or tags):
        raise click.UsageError("expected the ids of pauses, or --queue, --name and --tag as they were paused with")
    with load_app(app) as kit:
        found = {each: kit.resume(each) for each in ids}
        ended = sum(found.values()) if ids else kit.resume(queue=queue, name=name, tag=_tag(tags))
    if ended:
        click.echo(f"{ended} {'pause' if ended == 1 else 'pauses'} ended")
    missing = [each for each, count in found.items() if not count]
    if missing or not ended:
        who = f" {', '.join(missing)}" if missing else " of just this"
        raise Failure(f"no pause{who}: `jobkit pauses` lists them")


@click.command(short_help="List what is paused.")
@app_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a pause a line.")
def pauses(app: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """List what is paused: since when, until when, by whom and why."""
    with load_app(app) as kit:
        found = kit.pauses()
    if as_json:
        for each in found:
            click.echo(json.dumps(attrs.asdict(each), default=datetime.isoformat, ensure_ascii=False))
        return
    if not found:
        click.echo("nothing is paused", err=True)
        return
    when = _iso if terminal_width() is None else ago
    print_table(_COLUMNS, [_row(each, when) for each in found])


def _row(each: Pause, when: Callable[[datetime | None], str]) -> list[Cell]:
    return [
        Cell(each.id),
        Cell(each.queue or ""),
        Cell(each.name or ""),
        Cell("=".join(each.tag) if each.tag else ""),
        Cell(each.by),
        Cell(when(each.since)),
        Cell(when(each.until)),
        Cell(each.reason),
    ]


def _iso(when: datetime | None) -> str:
    return when.isoformat(timespec="seconds") if when else ""


def _tag(tags: dict[str, str]) -> tuple[str, str] | None:
    if len(tags) > 1:
        raise click.BadParameter("expected one KEY=VALUE; a pause is about one label", param_hint="--tag")
    return next(iter(tags.items()), None)


def _end(until: str | None, span: str | None) -> datetime | None:
    if until is not None and span is not None:
        raise click.UsageError("expected --until or --for, got both")
    if span is not None:
        seconds = read_span(span)
        if not seconds or seconds > LONGEST:
            raise click.BadParameter(
                f"expected a duration such as 90s, 10m, 1h30m or 2d, got {span!r}", param_hint="--for"
            )
        return datetime.now(UTC) + timedelta(seconds=seconds)
    if until is None:
        return None
    found = read_moment(until)
    if found is None:
        raise click.BadParameter(
            f"expected ISO 8601 with a timezone, such as 2030-01-31T08:00+01:00, got {until!r}", param_hint="--until"
        )
    return found
