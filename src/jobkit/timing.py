"""Seconds and clocks. Wall time says when (it may jump); monotonic time says how long (it never does)."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeAlias

from jobkit.errors import DeclarationError

Seconds: TypeAlias = float | timedelta
"""A duration: a number of seconds, or a timedelta."""

LONGEST: Final = 100 * 365.25 * 86_400.0
"""A hundred years in seconds: the most a job may be put off. What lies further off is a slip, and past what threads can
wait for and RQ's tools can show."""


def seconds(
    value: Seconds, what: str, *, least: float = 0.0, above: float | None = None, most: float = math.inf
) -> float:
    """The duration as a float of seconds.

    Args:
        value: seconds as int or float, or a timedelta. bool, str, NaN and infinity are refused.
        what: how the message calls it, e.g. "QueueSpec.timeout".
        least: the smallest duration that is allowed.
        above: when given, the duration has to be greater than this.
        most: the longest duration that is allowed.

    Raises:
        DeclarationError: the value is no duration, too short or too long.

    """
    number: object = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise DeclarationError(f"{what}: expected seconds (int or float) or a timedelta, got {value!r}")
    if not _is_finite(number):
        raise DeclarationError(f"{what}: expected a finite number of seconds, got {value!r}")
    if above is not None and number <= above:
        raise DeclarationError(f"{what}: expected more than {above:g} seconds, got {value!r}")
    if number < least:
        raise DeclarationError(f"{what}: expected {least:g} seconds or more, got {value!r}")
    if number > most:
        raise DeclarationError(f"{what}: expected at most {most:.0f} seconds, got {value!r}")
    return float(number)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that no float holds
        return False


def aware(value: datetime, what: str) -> datetime:
    """The datetime itself, when it says which timezone it is in.

    Raises:
        DeclarationError: it is no datetime, or a naive one, which means another moment on each machine.

    """
    given: object = value
    if not isinstance(given, datetime):
        raise DeclarationError(f"{what}: expected a datetime with a timezone, got {value!r}")
    if given.utcoffset() is None:
        raise DeclarationError(
            f"{what}: expected a datetime with a timezone, got the naive {value!r}; use datetime.now(UTC) or tzinfo=",
        )
    return given


class Clock(Protocol):
    """The time, passed in, so that tests can hold it."""

    def wall(self) -> datetime:
        """Now, in UTC, with its timezone."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> datetime:
        """Now, in UTC, with its timezone."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment of this machine, unaffected by changes of its wall clock."""
        return time.monotonic()
