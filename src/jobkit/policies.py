"""Retry and retention: frozen values, decided purely. Randomness is passed in."""

from __future__ import annotations

import inspect
import random as _random
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs

from jobkit import checks
from jobkit.errors import CorruptJob, DeclarationError
from jobkit.timing import LONGEST, Seconds, seconds

LONGEST_WAIT = 366 * 86_400.0
"""No retry waits longer than this many seconds, whatever its backoff says."""


def _more_than_nothing(value: Seconds) -> float:
    return seconds(value, "Exponential(base)", above=0.0)


def _fixed(value: Seconds) -> float:
    return seconds(value, "Fixed(seconds)")


def _cap(value: Seconds | None) -> float | None:
    return None if value is None else seconds(value, "Exponential(cap=)", above=0.0)


@checks.spelt
@attrs.frozen
class Exponential:
    """Waits that grow: `base * factor**(failed - 1)` seconds after the attempt number `failed`, capped, then jittered.

    Args:
        base: the wait after the first failure (seconds or timedelta), more than 0.
        factor: what each further failure multiplies it by, 1 or more.
        cap: the longest wait before jitter (seconds or timedelta); None for none.
        jitter: a fraction from 0 to 1: each wait is drawn from that much below to that much above.

    >>> Exponential(2, factor=4, cap=1800).delay(3)
    32.0

    """

    base: float = attrs.field(converter=_more_than_nothing)
    factor: float = attrs.field(default=2.0, validator=checks.between(1.0), kw_only=True)
    cap: float | None = attrs.field(default=None, converter=_cap, kw_only=True)
    jitter: float = attrs.field(default=0.0, validator=checks.between(0.0, 1.0), kw_only=True)

    def delay(self, failed: int) -> float:
        """Seconds to wait after `failed` attempts (1 or more), before jitter."""
        try:
            wait = self.base * self.factor ** (failed - 1)
        except OverflowError:
            wait = LONGEST_WAIT
        return min(wait, LONGEST_WAIT if self.cap is None else self.cap)


@checks.spelt
@attrs.frozen
class Fixed:
    """The same wait after each failure, in seconds (or a timedelta)."""

    seconds: float = attrs.field(converter=_fixed)

    def delay(self, failed: int) -> float:  # noqa: ARG002 - the shape of a backoff
        """Seconds to wait after `failed` attempts."""
        return self.seconds


Backoff: TypeAlias = Fixed | Exponential | Callable[[int], Seconds]
"""Fixed, Exponential, or a function of the number of failed attempts that returns seconds or a timedelta."""


def _backoff(value: Backoff) -> Backoff:
    given: Any = value
    if isinstance(given, Fixed | Exponential):
        return given
    if isinstance(given, type):
        raise DeclarationError(
            f"Retry(backoff=): expected a backoff, got the class {given.__name__}; did you mean {given.__name__}(2)?",
        )
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise DeclarationError(
            f"Retry(backoff=): expected Fixed, Exponential or a function (failed attempts) -> seconds, got {given!r}",
        )
    try:
        inspect.signature(given).bind(1)
    except TypeError as error:
        raise DeclarationError(
            f"Retry(backoff=): expected a function of one argument, the number of failed attempts, got {given!r}",
        ) from error
    except ValueError:
        return value  # a builtin that tells no signature
    return value


@checks.spelt
@attrs.frozen(kw_only=True)
class Retry:
    """How often a job is tried and how long it waits in between.

    Args:
        attempts: all attempts, the first included; 1 means no retry.
        backoff: the waits between them.

    """

    attempts: int = attrs.field(default=3, validator=checks.at_least(1))
    backoff: Backoff = attrs.field(default=Exponential(2), converter=_backoff)

    def delay(self, failed: int, random: Callable[[], float] = _random.random) -> float:
        """Seconds to wait after `failed` attempts.

        Args:
            failed: how many attempts have failed, 1 or more.
            random: gives a number from 0 to 1, for the jitter.

        Raises:
            DeclarationError: a callable backoff returned no duration.

        """
        backoff = self.backoff
        if isinstance(backoff, Fixed):
            wait = backoff.seconds
        elif isinstance(backoff, Exponential):
            wait = backoff.delay(failed)
            if backoff.jitter:
                wait *= 1.0 + backoff.jitter * (2.0 * random() - 1.0)
        else:
            wait = seconds(backoff(failed), f"the backoff {backoff!r} of attempt {failed}")
        return min(wait, LONGEST_WAIT)

    def delays(self) -> list[float]:
        """The waits in seconds between the attempts, without jitter.

        >>> Retry(attempts=4, backoff=Exponential(2, factor=4)).delays()
        [2.0, 8.0, 32.0]
        """
        return [self.delay(failed, lambda: 0.5) for failed in range(1, self.attempts)]

    def to_wire(self) -> list[Any]:
        """The policy as JSON values, for the job's record. A callable backoff stays in the code that declares it.

        Each job carries it, so it is short: whole numbers without a point, and no defaults at its end.
        """
        match self.backoff:
            case Fixed(seconds=wait):
                return [self.attempts, ["fixed", _short(wait)]]
            case Exponential(base=base, factor=factor, cap=cap, jitter=jitter):
                rest = [cap and _short(cap), _short(jitter)] if jitter else [_short(cap)] if cap is not None else []
                return [self.attempts, ["exp", _short(base), _short(factor), *rest]]
            case _:
                return [self.attempts, ["code"]]

    @classmethod
    def from_wire(cls, wire: Sequence[Any], declared: Retry | None = None) -> Retry:
        """The policy that `to_wire` wrote.

        Args:
            wire: what `to_wire` gave.
            declared: the queue's policy in this process, whose callable backoff a "code" entry means.

        Raises:
            CorruptJob: it is nothing that `to_wire` gives.

        """
        try:
            match wire:
                case [attempts, ["fixed", wait]]:
                    return cls(attempts=attempts, backoff=Fixed(wait))
                case [attempts, ["exp", base, factor, *rest]] if len(rest) <= 2:  # noqa: PLR2004 - cap and jitter
                    told: dict[str, Any] = dict(zip(("cap", "jitter"), rest, strict=False))
                    return cls(attempts=attempts, backoff=Exponential(base, factor=factor, **told))
                case [attempts, ["code"]]:
                    return cls(attempts=attempts, backoff=(declared or cls()).backoff)
                case _:
                    raise CorruptJob(f"expected a retry policy such as [3, ['fixed', 2.0]], got {wire!r}")
        except DeclarationError as error:
            raise CorruptJob(f"the job's retry policy {wire!r} is wrong: {error}") from error


def _short(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def _age(value: Seconds | None) -> float | None:
    return None if value is None else seconds(value, "Retention(completed_age=, failed_age=)", above=0.0, most=LONGEST)


@checks.spelt
@attrs.frozen(kw_only=True)
class Retention:
    """How many ended jobs a queue keeps, and for how long.

    Args:
        completed: the newest finished jobs that are kept (a result can be read while its job is kept).
        failed: the newest dead letters that are kept.
        completed_age: the age (seconds or timedelta) at which a finished job goes; None for never.
        failed_age: the same for dead letters.

    """

    completed: int = attrs.field(default=1000, validator=checks.at_least(0))
    failed: int = attrs.field(default=10_000, validator=checks.at_least(0))
    completed_age: float | None = attrs.field(default=None, converter=_age)
    failed_age: float | None = attrs.field(default=None, converter=_age)
