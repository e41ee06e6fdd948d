"""How a command ends when something is wrong: one message, and 2 for what the caller got wrong, else 1."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jobkit.errors import (
    ConfigurationError,
    DeclarationError,
    JobkitError,
    NotSerialisable,
    UnsuitableServer,
    WrongPayload,
)

if TYPE_CHECKING:
    from types import TracebackType

_USAGE: Final = (DeclarationError, ConfigurationError, WrongPayload, NotSerialisable)
_OURS: Final = str(Path(__file__).resolve().parent)


class Failure(click.ClickException):
    """Ends a command with a message and exit code 1."""


class WrongUse(click.ClickException):
    """Ends a command with a message and exit code 2."""

    exit_code = 2


def failure(error: JobkitError) -> click.ClickException:
    """The end of a command that met this error."""
    wrong = isinstance(error, _USAGE) and not isinstance(error, UnsuitableServer)
    return (WrongUse if wrong else Failure)(str(error))


def told(error: BaseException) -> str:
    """The traceback of an error in the application's code, from where that begins."""
    return "".join(traceback.format_exception(type(error), error, _theirs(error.__traceback__))).rstrip()


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(("<frozen importlib", _OURS)) and not file.endswith("importlib/__init__.py"):
            return trace
        trace = trace.tb_next
    return None


class Commands(click.Group):
    """A group whose commands end with the message of a jobkit error, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except JobkitError as error:
            raise failure(error) from error
