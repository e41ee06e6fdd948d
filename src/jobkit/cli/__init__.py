"""The command line: `jobkit`, or `python -m jobkit`. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

from typing import Any

import click

from jobkit.cli.demo import demo
from jobkit.cli.enqueue import enqueue
from jobkit.cli.jobs import jobs
from jobkit.cli.queues import queues
from jobkit.cli.worker import worker
from jobkit.errors import (
    ConfigurationError,
    DeclarationError,
    JobkitError,
    NotSerialisable,
    UnsuitableServer,
    WrongPayload,
)

_USAGE = (DeclarationError, ConfigurationError, WrongPayload, NotSerialisable)


class _Group(click.Group):
    """Errors of jobkit end a command with their message: what the caller got wrong with 2, the rest with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except JobkitError as error:
            wrong = isinstance(error, _USAGE) and not isinstance(error, UnsuitableServer)
            failure = click.ClickException(str(error))
            failure.exit_code = 2 if wrong else 1
            raise failure from error


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Background jobs on Redis.",
    epilog="The app is a kit, or a function that makes one: --app module:attr, JOBKIT_APP, or [tool.jobkit] app in "
    "pyproject.toml.",
)
@click.version_option(package_name="jobkit")
def main() -> None:
    """Background jobs on Redis."""


for _command in (worker, enqueue, jobs, queues, demo):
    main.add_command(_command)
