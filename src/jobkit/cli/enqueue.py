"""`jobkit enqueue`: one job from the command line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from jobkit.cli.app import app_option, load_app
from jobkit.cli.tags import tag_option
from jobkit.cli.times import read_moment

if TYPE_CHECKING:
    from datetime import datetime


@click.command(
    short_help="Enqueue a job.",
    epilog="""\b
Examples:
  jobkit enqueue invoice.read '{"invoice_id": "inv_1"}' --tag tenant=t_1
  jobkit enqueue invoice.read - --wait 30 < invoice.json
""",
)
@click.argument("name")
@click.argument("payload", metavar="[JSON]", default="{}")
@app_option
@click.option("--delay", type=click.FloatRange(min=0), metavar="SECONDS", default=0.0, help="Do not start it before.")
@click.option("--at", metavar="TIME", help="Do not start it before: ISO 8601 with a timezone, 2030-01-31T08:00+01:00.")
@click.option("--id", "job_id", metavar="ID", help="The job's id; the same id makes one job.")
@tag_option("A label for logs, status and filters; repeatable.")
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the result and print it as JSON."
)
def enqueue(
    name: str,
    payload: str,
    app: str | None,
    delay: float,
    at: str | None,
    job_id: str | None,
    tags: dict[str, str],
    wait: float | None,
) -> None:
    """Enqueue a job of NAME with the payload JSON (default {}; - reads standard input), and print its id.

    With --wait the id goes to standard error and the result to standard output.
    """
    from jobkit.payloads import parse

    moment = _moment(at)
    with load_app(app) as kit:
        cls = kit.registry.find(name).payload
        text = sys.stdin.buffer.read() if payload == "-" else payload
        handle = kit.enqueue(parse(cls, text), delay=delay, at=moment, job_id=job_id, tags=tags)
        if wait is None:
            click.echo(handle.id)
            return
        click.echo(handle.id, err=True)
        click.echo(json.dumps(kit.handle(handle.id).result(timeout=wait), ensure_ascii=False))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = read_moment(text)
    if moment is None:
        raise click.BadParameter(
            f"expected ISO 8601 with a timezone, such as 2030-01-31T08:00+01:00 or 2030-01-31T07:00Z, got {text!r}",
            param_hint="--at",
        )
    return moment
