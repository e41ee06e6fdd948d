"""`jobkit jobs`: look at jobs, retry and cancel them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobkit.cli.app import app_option, load_app
from jobkit.cli.tags import tag_option
from jobkit.jobs import JobState, JobStatus

_STATES = ("queued", "started", "scheduled", "deferred", "finished", "failed", "canceled")
_COLOURS = {"finished": "green", "failed": "red", "stopped": "red", "started": "cyan", "canceled": "yellow"}


@click.group()
def jobs() -> None:
    """Look at jobs, retry and cancel them."""


@jobs.command()
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
    console = Console(soft_wrap=True, highlight=False)
    status = record.status
    console.print(Text.assemble((status.name or "(unreadable)", "bold"), "  ", _state(status.state)))
    rows = {
        "id": status.id,
        "queue": status.queue,
        "attempt": f"{status.attempt} of {status.attempts}",
        "tags": ", ".join(f"{key}={value}" for key, value in status.tags.items()),
        "progress": f"{status.progress.percent:g} % {status.progress.message}" if status.progress else "",
        "created": _time(status.created_at),
        "enqueued": _time(status.enqueued_at),
        "due": _time(status.due_at),
        "started": _time(status.started_at),
        "ended": _time(status.ended_at),
        "timeout": f"{record.timeout:g} s" if record.timeout else "",
        "worker": status.worker or "",
        "reason": status.reason or "",
        "error": status.error or "",
    }
    for name, value in rows.items():
        if value:
            console.print(Text.assemble((f"  {name:9}", "dim"), value))
    console.print(Text("payload", style="bold"))
    console.print(Text(json.dumps(record.payload, ensure_ascii=False, indent=2)))
    for number, attempt in enumerate(record.attempts, 1):
        took = f"  {attempt.seconds:.3f} s" if attempt.seconds is not None else ""
        console.print(Text.assemble((f"attempt {number}", "bold"), "  ", attempt.outcome, took, f"  {attempt.worker}"))
        if attempt.error:
            console.print(Text(attempt.error.rstrip(), style="red"))
        elif attempt.outcome == "finished":
            console.print(Text(json.dumps(attempt.result, ensure_ascii=False, indent=2)))


@jobs.command()
@app_option
@click.option("--queue", help="Only this queue.")
@click.option("--state", type=click.Choice(_STATES), help="Only this state.")
@tag_option("Only jobs with this label; repeatable.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a job a line.")
def ls(
    app: str | None,
    queue: str | None,
    state: str | None,
    tags: dict[str, str],
    limit: int,
    as_json: bool,  # noqa: FBT001 - a flag of the command
) -> None:
    """List jobs."""
    with load_app(app) as kit:
        found = kit.jobs.ls(queue=queue, state=state, tags=tags, limit=limit)
    if as_json:
        for job in found:
            click.echo(json.dumps(attrs.asdict(job), default=_plain, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("id", "job", "queue", "state", "attempt", "tags", "ended", "note"):
        table.add_column(title, overflow="fold" if title in {"id", "note"} else "ellipsis")
    for job in found:
        table.add_row(
            job.id,
            job.name or "(unreadable)",
            job.queue,
            _state(job.state),
            f"{job.attempt}/{job.attempts}",
            " ".join(f"{key}={value}" for key, value in job.tags.items()),
            _time(job.ended_at),
            _note(job),
        )
    Console().print(table if found else Text("no jobs", style="dim"))


@jobs.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@app_option
def retry(job_ids: tuple[str, ...], app: str | None) -> None:
    """Queue ended jobs again, with all their attempts; scheduled ones at once."""
    refused = 0
    with load_app(app) as kit:
        for job_id in job_ids:
            answer = kit.jobs.retry(job_id)
            if answer == "queued":
                click.echo(f"{job_id} queued")
            else:
                refused += 1
                state = "queued" if answer == "waiting" else answer
                click.echo(
                    f"{job_id} is {state}: only failed, stopped, canceled and scheduled jobs are retried", err=True
                )
    if refused:
        raise click.exceptions.Exit(1)


@jobs.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@app_option
@click.option("--reason", default="cancelled by an operator", show_default=True, help="Kept on the job.")
def cancel(job_ids: tuple[str, ...], app: str | None, reason: str) -> None:
    """Cancel jobs that wait or run."""
    late = 0
    with load_app(app) as kit:
        for job_id in job_ids:
            if kit.jobs.cancel(job_id, reason=reason):
                click.echo(f"{job_id} canceled")
            else:
                late += 1
                click.echo(f"{job_id} had ended already", err=True)
    if late:
        raise click.exceptions.Exit(1)


def _state(state: JobState) -> Text:
    return Text(state.value, style=_COLOURS.get(state.value, ""))


def _time(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _note(job: JobStatus) -> str:
    if job.state is JobState.STARTED and job.progress:
        return f"{job.progress.percent:g} % {job.progress.message}"
    if job.state is JobState.SCHEDULED and job.due_at:
        return f"due {_time(job.due_at)}" + (f": {job.reason or job.error}" if job.reason or job.error else "")
    return job.error or job.reason or ""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "items"):
        return dict(value)
    return str(value)
