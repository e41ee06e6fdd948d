from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobkit.errors import DeclarationError
from jobkit.timing import SystemClock, aware, seconds


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (2, 2.0), (0.5, 0.5), (timedelta(minutes=1), 60.0)])
def test_seconds(value: Any, expected: object) -> None:
    """Numbers and timedeltas become a float of seconds."""
    found = seconds(value, "delay=")
    assert found == expected
    assert type(found) is float


@pytest.mark.parametrize("value", [True, "5", "5s", None, float("nan"), float("inf"), -1, timedelta(seconds=-1)])
def test_seconds_refuses_what_is_no_duration(value: Any) -> None:
    """What is no finite duration from 0 is refused, and the message says what was expected and what came."""
    with pytest.raises(DeclarationError, match=r"delay=: expected .*got "):
        seconds(value, "delay=")


@pytest.mark.parametrize("value", [11, 1e308, timedelta.max])
def test_seconds_refuses_what_is_longer_than_allowed(value: Any) -> None:
    """A bound is told where it is passed; what no float holds is refused with or without one."""
    assert seconds(10, "delay=", most=10) == 10
    with pytest.raises(DeclarationError, match=r"delay=: expected at most 10 seconds, got "):
        seconds(value, "delay=", most=10)
    with pytest.raises(DeclarationError, match=r"delay=: expected a finite number"):
        seconds(10**400, "delay=", most=10)


def test_seconds_above() -> None:
    """A limit that is excluded is told."""
    with pytest.raises(DeclarationError, match="timeout=: expected more than 0 seconds, got 0"):
        seconds(0, "timeout=", above=0.0)


def test_aware_refuses_naive_datetimes() -> None:
    """A datetime without a timezone is refused with the remedy; anything else too."""
    now = datetime.now(UTC)
    assert aware(now, "at=") is now
    with pytest.raises(DeclarationError, match=r"at=: expected a datetime with a timezone.*datetime\.now\(UTC\)"):
        aware(datetime(2026, 1, 1), "at=")  # noqa: DTZ001 - the naive one is the point
    with pytest.raises(DeclarationError, match="at=: expected a datetime"):
        aware("2026-01-01", "at=")


def test_system_clock() -> None:
    """Wall time carries its timezone; monotonic time does not run backwards."""
    clock = SystemClock()
    assert clock.wall().utcoffset() == timedelta(0)
    assert clock.monotonic() <= clock.monotonic()
