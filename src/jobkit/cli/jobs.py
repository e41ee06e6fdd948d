"""`jobkit jobs`: look at jobs, retry and cancel them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from jobkit.cli.app import app_option, load_app
from jobkit.cli.tables import Cell, Column, print_table, terminal_width
from jobkit.cli.tags import tag_option
from jobkit.cli.times import ago, moment
from jobkit.errors import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.admin import AttemptRecord
    from jobkit.jobs import JobStatus

_STATES: Final = ("queued", "started", "scheduled", "deferred", "finished", "failed", "canceled")
_COLOURS: Final = {"finished": "green", "failed": "red", "stopped": "red", "started": "cyan", "canceled": "yellow"}
_COLUMNS: Final = (
    Column(title="id"),
    Column(title="job", spare=1),
    Column(title="queue", spare=4),
    Column(title="state"),
    Column(title="attempt", short="try", spare=3),
    Column(title="when", spare=5),
    Column(title="tags", spare=6),
    Column(title="note", spare=2, cut=True),
)


@click.group()
def jobs() -> None:
    """Look at jobs, retry and cancel them."""


@jobs.command(short_help="Show a job.")
@click.argument("job_id")
@app_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(job_id: str, app: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Show a job: its status, its payload and how each attempt ended."""
    with load_app(app) as kit:
        record = kit.jobs.get(job_id)
    if as_json:
        click.echo(json.dumps(attrs.asdict(record), default=_plain, ensure_ascii=False, indent=2))
        return
    status = record.status
    state = click.style(status.state.value, fg=_COLOURS.get(status.state.value))
    click.echo(f"{click.style(_name(status), bold=True)}  {state}")
    rows = {
        "id": status.id,
        "queue": status.queue,
        "attempt": f"{status.attempt} of {status.attempts}",
        "tags": _tags(status),
        "progress": f"{status.progress.percent:g} % {status.progress.message}" if status.progress else "",
        "created": moment(status.created_at),
        "enqueued": moment(status.enqueued_at),
        "due": moment(status.due_at),
        "started": moment(status.started_at),
        "ended": moment(status.ended_at),
        "timeout": f"{record.timeout:g} s" if record.timeout and record.timeout > 0 else "",
        "worker": status.worker or "",
        "reason": status.reason or "",
        "error": status.error or "",
    }
    for name, value in rows.items():
        if value:
            click.echo(f"  {click.style(f'{name:9}', dim=True)} {_indented(value, 12)}")
    click.echo(click.style("payload", bold=True))
    click.echo(f"  {_indented(json.dumps(record.payload, ensure_ascii=False, indent=2), 2)}")
    for number, attempt in enumerate(record.attempts, 1):
        _show_attempt(number, attempt)


def _show_attempt(number: int, attempt: AttemptRecord) -> None:
    parts = [
        click.style(f"attempt {number}", bold=True),
        click.style(attempt.outcome, fg=_COLOURS.get(attempt.outcome)),
    ]
    if attempt.seconds is not None:
        parts.append(f"{attempt.seconds:.3f} s")
    if attempt.worker:
        parts.append(f"on {attempt.worker}")
    click.echo("  ".join(parts))
    if attempt.error:
        click.echo(f"  {_indented(attempt.error.rstrip(), 2)}")
    elif attempt.outcome == "finished" and attempt.result is not None:
        click.echo(f"  {_indented(json.dumps(attempt.result, ensure_ascii=False, indent=2), 2)}")


@jobs.command(short_help="List jobs.")
@app_option
@click.option("--queue", metavar="QUEUE", help="Only this queue.")
@click.option("--state", type=click.Choice(_STATES), metavar="STATE", help=f"Only this state: {', '.join(_STATES)}.")
@tag_option("Only jobs with this label; repeatable.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="NUMBER", default=50, show_default=True, help="At most so many."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a job a line.")
def ls(
    app: str | None,
    queue: str | None,
    state: str | None,
    tags: dict[str, str],
    limit: int,
    as_json: bool,  # noqa: FBT001 - a flag of the command
) -> None:
    """List jobs: waiting ones in their order, ended ones from the newest.

    A terminal shows the columns it has room for; in a pipe, all are whole.
    """
    with load_app(app) as kit:
        found = kit.jobs.ls(queue=queue, state=state, tags=tags, limit=limit)
    if as_json:
        for job in found:
            click.echo(json.dumps(attrs.asdict(job), default=_plain, ensure_ascii=False))
        return
    if not found:
        click.echo("no jobs", err=True)
        return
    when = _iso if terminal_width() is None else _ago
    print_table(_COLUMNS, [_row(job, when(job)) for job in found])
    if len(found) == limit:
        click.echo(f"These are the first {limit}; --limit shows more.", err=True)


@jobs.command(short_help="Queue jobs again.")
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@app_option
def retry(job_ids: tuple[str, ...], app: str | None) -> None:
    """Queue jobs again that failed or were cancelled.

    They get all their attempts anew. A scheduled job is queued at once.
    """

    def one(job_id: str) -> str | None:
        answer = kit.jobs.retry(job_id)
        if answer == "queued":
            click.echo(f"{job_id} queued")
            return None
        state = "queued" if answer == "waiting" else answer
        return f"{job_id} is {state}: only failed, stopped, canceled and scheduled jobs are retried"

    with load_app(app) as kit:
        _each(job_ids, one)


@jobs.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@app_option
@click.option(
    "--reason", metavar="TEXT", default="cancelled by an operator", show_default=True, help="Kept on the job."
)
def cancel(job_ids: tuple[str, ...], app: str | None, reason: str) -> None:
    """Cancel jobs that wait or run."""

    def one(job_id: str) -> str | None:
        if kit.jobs.cancel(job_id, reason=reason):
            click.echo(f"{job_id} canceled")
            return None
        return f"{job_id} had ended already"

    with load_app(app) as kit:
        _each(job_ids, one)


def _each(job_ids: tuple[str, ...], act: Callable[[str], str | None]) -> None:
    """Act on every job; those that refuse do not keep the others from it, and end the command with 1."""
    refused = 0
    for job_id in job_ids:
        try:
            why = act(job_id)
        except JobNotFound as error:
            why = str(error)
        if why is not None:
            refused += 1
            click.echo(why, err=True)
    if refused:
        raise click.exceptions.Exit(1)


def _row(job: JobStatus, when: str) -> list[Cell]:
    return [
        Cell(job.id),
        Cell(_name(job)),
        Cell(job.queue),
        Cell(job.state.value, colour=_COLOURS.get(job.state.value)),
        Cell(f"{job.attempt}/{job.attempts}"),
        Cell(when),
        Cell(_tags(job)),
        Cell(_note(job)),
    ]


def _last(job: JobStatus) -> datetime | None:
    """The moment that the job's state speaks of."""
    match job.state.value:
        case "scheduled":
            return job.due_at
        case "started":
            return job.started_at
        case "queued" | "deferred":
            return job.enqueued_at or job.created_at
        case _:
            return job.ended_at


def _iso(job: JobStatus) -> str:
    when = _last(job)
    return when.isoformat(timespec="seconds") if when else ""


def _ago(job: JobStatus) -> str:
    text = ago(_last(job))
    return "due now" if job.state.value == "scheduled" and text.endswith("ago") else text


def _name(job: JobStatus) -> str:
    return job.name or "(unreadable)"


def _tags(job: JobStatus) -> str:
    return " ".join(f"{key}={value}" for key, value in job.tags.items())


def _note(job: JobStatus) -> str:
    if job.state.value == "started" and job.progress:
        return f"{job.progress.percent:g} % {job.progress.message}".rstrip()
    if job.state.value == "finished":
        return ""
    text = job.reason or job.error or ""
    return text.strip().splitlines()[-1] if text.strip() else ""


def _indented(text: str, by: int) -> str:
    return text.replace("\n", "\n" + " " * by)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "items"):
        return dict(value)
    return str(value)
