"""`jobkit enqueue`: one job from the command line."""

from __future__ import annotations

import json
from datetime import datetime

import click

from jobkit.cli.app import app_option, load_app
from jobkit.cli.tags import tag_option
from jobkit.errors import JobCancelled, JobFailed, ResultTimeout
from jobkit.payloads import parse


@click.command()
@click.argument("name")
@click.argument("payload", metavar="JSON", default="{}")
@app_option
@click.option("--delay", type=click.FloatRange(min=0), default=0.0, help="Seconds before it may start.")
@click.option(
    "--at", metavar="TIME", help="When it may start: ISO 8601 with a timezone, such as 2030-01-31T08:00+01:00."
)
@click.option("--id", "job_id", help="The job's id; the same id makes one job.")
@tag_option("A label for logs, status and filters; repeatable.")
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the result and print it as JSON."
)
def enqueue(  # noqa: PLR0913 - the options of the command
    name: str,
    payload: str,
    app: str | None,
    delay: float,
    at: str | None,
    job_id: str | None,
    tags: dict[str, str],
    wait: float | None,
) -> None:
    """Enqueue a job of NAME with the payload JSON, and print its id.

    \b
    jobkit enqueue invoice.read '{"invoice_id": "inv_1"}' --tag tenant=t_1
    """
    with load_app(app) as kit:
        cls = kit.registry.find(name).payload
        handle = kit.enqueue(
            parse(cls, payload),
            delay=delay,
            at=_moment(at),
            job_id=job_id,
            tags=tags,
        )
        if wait is None:
            click.echo(handle.id)
            return
        click.echo(handle.id, err=True)
        try:
            value = kit.handle(handle.id).result(timeout=wait)
        except (JobFailed, JobCancelled, ResultTimeout) as error:
            raise click.ClickException(str(error)) from error
        click.echo(json.dumps(value, ensure_ascii=False))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"expected ISO 8601, such as 2030-01-31T08:00+01:00, got {text!r}", param_hint="--at"
        ) from error
