"""How much of a queue may run at a time, and how often: rate limits, concurrency limits, priorities."""

from __future__ import annotations

import enum
import keyword
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from jobkit import checks
from jobkit.errors import DeclarationError, did_you_mean
from jobkit.timing import LONGEST, Seconds, seconds

MOST = 100_000
"""The largest number of claims that a rate limit counts in its window: each is remembered."""


class Priority(enum.Enum):
    """Which of the jobs of a queue goes first; `QueueSpec(ageing=)` says how far."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


def _per(value: Seconds) -> float:
    per = seconds(value, "RateLimit(per=)", above=0.0, most=LONGEST)
    if per < 0.001:  # noqa: PLR2004 - the server's clock counts milliseconds
        raise DeclarationError(f"RateLimit(per=): expected a millisecond or more, got {value!r}")
    return per


def _count(instance: object, field: attrs.Attribute[int], value: Any) -> None:
    checks.whole(value, f"{type(instance).__name__}({field.name})", least=1)
    if isinstance(instance, RateLimit) and value > MOST:
        raise DeclarationError(f"RateLimit({field.name}): expected at most {MOST:,}, got {value!r}")


def field_name(value: str | None, what: str) -> str | None:
    """The name of a payload's field; raises DeclarationError for what cannot be one."""
    given: object = value
    if given is None:
        return None
    if not isinstance(given, str) or not given.isidentifier() or keyword.iskeyword(given):
        raise DeclarationError(f"{what}: expected the name of a payload's field such as 'tenant_id', got {value!r}")
    return str.__str__(given)


def _rate_key(value: str | None) -> str | None:
    return field_name(value, "RateLimit(key=)")


def _running_key(value: str | None) -> str | None:
    return field_name(value, "MaxRunning(key=)")


@checks.spelt
@attrs.frozen
class RateLimit:
    """At most `count` jobs are begun in any window of `per` seconds, by all workers together.

    Counted are claims, by the server's clock; an attempt that is repeated counts again.

    Args:
        count: claims in a window, 1 to 100,000.
        per: the window, in seconds (or a timedelta); counted in milliseconds.
        key: a field of the payload; each of its values has a window of its own. None: one for the queue.

    """

    count: int = attrs.field(validator=_count)
    per: float = attrs.field(converter=_per, kw_only=True)
    key: str | None = attrs.field(default=None, converter=_rate_key, kw_only=True)


@checks.spelt
@attrs.frozen
class MaxRunning:
    """At most `count` jobs run at a time, in all workers together.

    Args:
        count: 1 or more.
        key: a field of the payload; for each of its values so many may run. None: for the queue.

    """

    count: int = attrs.field(validator=_count)
    key: str | None = attrs.field(default=None, converter=_running_key, kw_only=True)


def rate_limits(value: RateLimit | Iterable[RateLimit] | None) -> tuple[RateLimit, ...]:
    """One or several, as a tuple; raises DeclarationError for anything else."""
    return _several(value, RateLimit, "rate_limit", "RateLimit(100, per=10)")


def max_running(value: int | MaxRunning | Iterable[MaxRunning] | None) -> tuple[MaxRunning, ...]:
    """One or several, as a tuple; a number is one for the queue. Raises DeclarationError for anything else."""
    if isinstance(value, int):
        value = MaxRunning(value)
    found: tuple[MaxRunning, ...] = _several(
        value, MaxRunning, "max_running", "a number or MaxRunning(2, key='tenant_id')"
    )
    keys = [each.key for each in found]
    if len(set(keys)) < len(keys):
        raise DeclarationError(
            f"QueueSpec(max_running=): expected one limit a key, got {value!r}; the smaller one counts"
        )
    return found


def _several(value: Any, cls: type[Any], option: str, example: str) -> tuple[Any, ...]:
    if value is None:
        return ()
    found = (value,) if isinstance(value, cls) else tuple(value) if isinstance(value, Iterable) else (value,)
    for each in found:
        if not isinstance(each, cls):
            raise DeclarationError(f"QueueSpec({option}=): expected {example}, or a list of such, got {value!r}")
    return found


def weights(value: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """How many turns each fair key takes; 1 for those that are not named. Raises DeclarationError."""
    given: object = value
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise DeclarationError(f"QueueSpec(weights=): expected a mapping such as {{'t_1': 2}}, got {value!r}")
    for key, weight in given.items():
        if not isinstance(key, str):
            raise DeclarationError(f"QueueSpec(weights=): expected keys that are str, got {key!r}")
        checks.number(weight, f"QueueSpec(weights={{{key!r}: ...}})", least=0.001, most=1000.0)
    return {str.__str__(key): float(weight) for key, weight in given.items()}


def ageing(value: Seconds | None) -> float | None:
    """Seconds that a step of priority is worth; None where a queue has no priorities. Raises DeclarationError."""
    return None if value is None else seconds(value, "QueueSpec(ageing=)", above=0.0, most=LONGEST)


def priority_of(value: Priority | str) -> Priority:
    """The priority, also by its value; raises DeclarationError for anything else."""
    if isinstance(value, Priority):
        return value
    known = [each.value for each in Priority]
    try:
        return Priority(value)
    except ValueError:
        raise DeclarationError(
            f"priority=: expected a Priority ({', '.join(known)}), got {value!r}{did_you_mean(str(value), known)}"
        ) from None
