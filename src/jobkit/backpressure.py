"""What a service says when it is asked too much: how long to leave it alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from jobkit.errors import DeclarationError
from jobkit.timing import Seconds, seconds

LONGEST_PAUSE: Final = 86_400.0
"""Seconds that a service's word is taken for at most: a day."""
SHORTEST_PAUSE: Final = 1.0
"""Seconds that a service which asks for it is left alone at least: it counts whole ones, and clocks differ."""
UNSAID: Final = 60.0
"""Seconds to leave a service alone that does not say for how long."""


@runtime_checkable
class Answered(Protocol):
    """A response with headers, such as those of httpx, requests and aiohttp."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; their names in any case."""
        ...


RetryAfter: TypeAlias = Seconds | Answered
"""Seconds, a timedelta, or a response whose header Retry-After says it."""


def retry_after(response: Answered, default: Seconds = UNSAID) -> float:
    """Seconds that a response asks to wait, by its header Retry-After: seconds, or an HTTP date.

    A moment that has passed, or a negative number, is 0; more than a day is a day.

    Args:
        response: has `.headers`, as the responses of httpx, requests and aiohttp have.
        default: what is meant where the header is not there or cannot be read, in seconds (or a timedelta).

    Raises:
        DeclarationError: it has no headers, or the default is no duration.

    """
    fallback = seconds(default, "retry_after(default=)", most=LONGEST_PAUSE)
    headers: Any = getattr(response, "headers", None)
    if not isinstance(headers, Mapping):
        raise DeclarationError(f"retry_after: expected a response with headers, such as httpx's, got {response!r:.200}")
    said = next((value for name, value in headers.items() if str(name).lower() == "retry-after"), None)
    if said is None:
        return fallback
    wait = _said(str(said).strip())
    return fallback if wait is None else min(max(wait, 0.0), LONGEST_PAUSE)


def pause(value: RetryAfter) -> float:
    """Seconds to leave a service alone: a second at least, or the job would be back at once, and at most a day.

    Raises DeclarationError for what does not say it.
    """
    if not isinstance(value, int | float | timedelta) and isinstance(value, Answered):
        return max(SHORTEST_PAUSE, retry_after(value))
    return min(max(SHORTEST_PAUSE, seconds(value, "rate_limited(retry_after=)")), LONGEST_PAUSE)


def _said(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return _until(text)
    return number if math.isfinite(number) else None


def _until(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few services give a date, and this loads much

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()
