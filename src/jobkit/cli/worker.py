"""`jobkit worker`: a worker process, or several under a supervisor."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from jobkit.cli.app import app_option, load_app
from jobkit.cli.failures import Failure

if TYPE_CHECKING:
    from jobkit.worker.probes import Beacons, Probes


@click.command(short_help="Run a worker, or several.")
@click.argument("names", metavar="[QUEUE]...", nargs=-1)
@click.option("--processes", type=click.IntRange(min=1), default=1, help="How many, kept running (1).")
@click.option("--ready-file", metavar="PATH", help="Have this file be there while all processes claim jobs.")
@click.option("--live-file", metavar="PATH", help="Touch this file each second while all processes live.")
@click.option("--probe-port", metavar="[HOST:]PORT", help="Answer HTTP on /readyz and /healthz; on loopback alone.")
@click.option("--supervised", type=int, hidden=True, help="The socket that ties this process to its supervisor.")
@app_option
def worker(
    names: tuple[str, ...],
    app: str | None,
    processes: int,
    ready_file: str | None,
    live_file: str | None,
    probe_port: str | None,
    supervised: int | None,
) -> None:
    """Run a worker for the named queues (default: all of the app's).

    SIGTERM or Ctrl-C stops claiming, lets running jobs end within JOBKIT_SHUTDOWN_TIMEOUT, and puts the rest back; a
    second one puts back at once. With --processes, dead workers are started again, and SIGHUP replaces them one after
    another. Exit code 0 when it was stopped, 1 when it could not go on or a process had to be killed.
    """
    from jobkit.worker.probes import Probes

    probes = Probes(ready_file, live_file, probe_port)
    probes.check()
    if processes > 1:
        _supervise(processes, [*(["--app", app] if app else []), *names], probes)
    _run(names, app, probes, supervised)


def _run(names: tuple[str, ...], app: str | None, probes: Probes, supervised: int | None) -> NoReturn:
    from jobkit.worker.logs import configure_logging
    from jobkit.worker.pulse import Pulse
    from jobkit.worker.tie import Tie

    with contextlib.ExitStack() as stack:
        tie = None if supervised is None else Tie(supervised)
        # A supervisor hears of this process while the app is still being imported.
        pulse = None if tie is None else stack.enter_context(Pulse(tie))
        kit = load_app(app)
        configure_logging(kit.settings)
        if tie is not None:
            tie.tell(kit.settings)
        if pulse is None:
            pulse = stack.enter_context(Pulse(_beacons(probes)))
        stack.enter_context(kit)
        worker = kit.worker(*names)
        pulse.follow(worker)
        code = worker.run(leave=pulse.leave, supervised=tie is not None)
    sys.exit(code)


def _beacons(probes: Probes) -> Beacons:
    from jobkit.worker.probes import Beacons

    try:
        return Beacons(probes, os.environ)
    except OSError as error:
        raise Failure(f"the probes cannot be shown: {error}") from error


def _supervise(processes: int, arguments: list[str], probes: Probes) -> NoReturn:
    from jobkit.worker.supervisor_program import Plan, become

    command = [*_this_program(), "worker", *arguments]
    log_format, log_level = os.environ.get("JOBKIT_LOG_FORMAT", "auto"), os.environ.get("JOBKIT_LOG_LEVEL", "INFO")
    become(Plan(processes, command, probes, log_format, log_level))


def _this_program() -> list[str]:
    """The words that started this program, up to the command: the same Python, with its own options, and the script."""
    given = sys.argv[1:]
    start = len(sys.orig_argv) - len(given)
    if given[:1] == ["worker"] and sys.orig_argv[start:] == given:
        return [sys.executable, *sys.orig_argv[1:start]]
    return [sys.executable, "-m", "jobkit"]
