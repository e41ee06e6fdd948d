"""Moments and durations as an operator reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def read_span(text: str) -> float | None:
    """The seconds of a duration as an operator writes it; None where it is none.

    >>> read_span("1h30m"), read_span("90s"), read_span("90")
    (5400.0, 90.0, None)
    """
    if not re.fullmatch(r"(\d{1,6}[dhms])+", text):
        return None
    sizes = dict(_UNITS)
    return float(sum(int(count) * sizes[unit] for count, unit in re.findall(r"(\d+)([dhms])", text)))


def read_moment(text: str) -> datetime | None:
    """The moment of an ISO 8601 text with a timezone; None where it is none.

    >>> read_moment("2030-01-31T08:00+01:00") == read_moment("2030-01-31T07:00Z"), read_moment("2030-01-31")
    (True, None)
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if found.utcoffset() is None else found


def moment(when: datetime | None) -> str:
    """The moment by the clock of this machine, with its offset from UTC."""
    return when.astimezone().isoformat(sep=" ", timespec="seconds") if when else ""


def span(seconds: float) -> str:
    """A duration by its two largest units.

    >>> span(93_784), span(59.2), span(0.25)
    ('1d 2h', '59s', '0s')
    """
    left = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def ago(when: datetime | None, now: datetime | None = None) -> str:
    """How long ago it was, or in how long it will be; nothing where there is no moment.

    >>> ago(datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, 0, 5, tzinfo=UTC))
    '5m ago'
    """
    if when is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - when).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
