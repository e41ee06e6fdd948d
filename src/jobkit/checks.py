"""Checks of what a caller declares: whole numbers, fractions, names, and the spelling of keyword options."""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
from typing import TYPE_CHECKING, Any, TypeVar

from jobkit.errors import DeclarationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    import attrs

C = TypeVar("C", bound=type)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def whole(value: int, what: str, *, least: int) -> int:
    """The number itself, when it is an int (no bool) of at least `least`; else DeclarationError."""
    given: object = value
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise DeclarationError(f"{what}: expected a whole number of {least} or more, got {value!r}")
    return given


def number(value: float, what: str, *, least: float, most: float = math.inf) -> float:
    """The number as a float, when it is finite and within the bounds; else DeclarationError."""
    given: object = value
    if (
        isinstance(given, bool)
        or not isinstance(given, int | float)
        or not math.isfinite(given)
        or not least <= given <= most
    ):
        bounds = f"of {least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise DeclarationError(f"{what}: expected a number {bounds}, got {value!r}")
    return float(given)


def at_least(least: int) -> Callable[[Any, attrs.Attribute[int], Any], None]:
    """Make an attrs validator: a whole number of `least` or more."""

    def check(instance: object, field: attrs.Attribute[int], value: Any) -> None:
        whole(value, f"{type(instance).__name__}({field.name}=)", least=least)

    return check


def between(least: float, most: float = math.inf) -> Callable[[Any, attrs.Attribute[float], Any], None]:
    """Make an attrs validator: a finite number within the bounds."""

    def check(instance: object, field: attrs.Attribute[float], value: Any) -> None:
        number(value, f"{type(instance).__name__}({field.name}=)", least=least, most=most)

    return check


def a(cls: type[Any]) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Make an attrs validator: an instance of the class; the class itself is told to be called."""

    def check(instance: object, field: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, cls):
            hint = f"; did you mean {cls.__name__}(...)?" if value is cls else ""
            raise DeclarationError(
                f"{type(instance).__name__}({field.name}=): expected a {cls.__name__}, got {value!r}{hint}",
            )

    return check


def name(value: str, what: str) -> str:
    """The name as an exact str (a member of a StrEnum becomes its value); else DeclarationError.

    Names are keys on the server: 1 to 200 of `A-Z a-z 0-9 . _ : -`, the first a letter or a digit.
    """
    given: object = value
    if not isinstance(given, str):
        raise DeclarationError(f"{what}: expected a name (str), got {value!r}")
    exact = str.__str__(given)
    if not _NAME.fullmatch(exact):
        raise DeclarationError(
            f"{what}: expected 1 to 200 letters, digits and . _ : -, beginning with a letter or a digit, got {exact!r}",
        )
    return exact


def job_id(value: str, what: str = "job_id") -> str:
    """The id itself, when RQ's tools can carry it: 1 to 200 letters, digits, _ and -; else DeclarationError."""
    given: object = value
    if not isinstance(given, str) or not _JOB_ID.fullmatch(given):
        raise DeclarationError(f"{what}: expected 1 to 200 letters, digits, _ and -, got {value!r}")
    return given


def new_job_id() -> str:
    """Make a random id of 32 hexadecimal digits."""
    return os.urandom(16).hex()


def spelt(cls: C) -> C:
    """Class decorator: a misspelt or misplaced option raises a DeclarationError that suggests the nearest."""
    made: Callable[..., None] = getattr(cls, "__init__")  # noqa: B009 - as below
    parameters = [each for each in inspect.signature(made).parameters.values() if each.name != "self"]
    known = [each.name for each in parameters]
    positional = sum(each.kind is not inspect.Parameter.KEYWORD_ONLY for each in parameters)

    @functools.wraps(made)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        for option in kwargs:
            if option not in known:
                raise DeclarationError(
                    f"{cls.__name__}: unknown option {option!r}{did_you_mean(option, known) or '.'} "
                    f"Its options are {', '.join(known)}.",
                )
        if len(args) > positional:
            raise DeclarationError(
                f"{cls.__name__}: expected at most {positional} positional argument(s), got {len(args)}; "
                f"name the others: {', '.join(f'{each}=' for each in known[positional:])}",
            )
        missing = [
            each.name
            for each in parameters[len(args) :]
            if each.default is inspect.Parameter.empty and each.name not in kwargs
        ]
        if missing:
            raise DeclarationError(f"{cls.__name__}: expected {', '.join(missing)}")
        made(self, *args, **kwargs)

    setattr(cls, "__init__", checked)  # noqa: B010 - mypy refuses the assignment to __init__
    return cls
