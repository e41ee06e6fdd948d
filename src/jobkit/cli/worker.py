"""`jobkit worker`: a worker process."""

from __future__ import annotations

import sys

import click

from jobkit.cli.app import app_option, load_app


@click.command(short_help="Run a worker.")
@click.argument("names", metavar="[QUEUE]...", nargs=-1)
@app_option
def worker(names: tuple[str, ...], app: str | None) -> None:
    """Run a worker for the named queues (default: all of the app's).

    SIGTERM or Ctrl-C stops claiming, lets running jobs end within JOBKIT_SHUTDOWN_TIMEOUT, and puts the rest back; a
    second one puts back at once. Exit code 0 when it was stopped, 1 when it could not go on.
    """
    from jobkit.worker.logs import configure_logging

    kit = load_app(app)
    configure_logging(kit.settings)
    with kit:
        code = kit.worker(*names).run()
    sys.exit(code)
