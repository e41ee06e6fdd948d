"""The command line: `jobkit`, or `python -m jobkit`. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import click

from jobkit.cli.demo import demo
from jobkit.cli.enqueue import enqueue
from jobkit.cli.failures import Commands
from jobkit.cli.jobs import jobs
from jobkit.cli.pauses import pause, pauses, resume
from jobkit.cli.queues import queues
from jobkit.cli.soak import soak
from jobkit.cli.worker import worker


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="The app is a JobKit, or a function that makes one: --app module:attr, the variable JOBKIT_APP, or "
    "[tool.jobkit] app in pyproject.toml. Exit codes: 0 done, 1 failed, 2 wrong usage.",
)
@click.version_option(package_name="jobkit")
def main() -> None:
    """Background jobs on Redis: run workers, enqueue jobs, and see to them."""


for _command in (worker, enqueue, jobs, queues, pause, resume, pauses, soak, demo):
    main.add_command(_command)
