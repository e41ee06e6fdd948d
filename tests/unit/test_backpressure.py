"""How long a service asks to be left alone."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from jobkit.backpressure import LONGEST_PAUSE, retry_after
from jobkit.errors import DeclarationError
from jobkit.jobs import Job
from jobkit.payloads import Payload


class Push(Payload, name="push", queue="crm"):
    pass


class Plain:
    """A response of some client, whose headers are a dict."""

    def __init__(self, **headers: Any) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def said(value: str) -> float:
    """Read the header."""
    return retry_after(httpx.Response(429, headers={"Retry-After": value}))


@pytest.mark.parametrize(
    ("value", "wait"),
    [("120", 120), (" 7 ", 7), ("1.5", 1.5), ("0", 0), ("-5", 0), ("1e9", LONGEST_PAUSE), ("100000", LONGEST_PAUSE)],
)
def test_seconds_are_read(value: str, wait: float) -> None:
    """The header's seconds count; below 0 is 0, and more than a day is a day."""
    assert said(value) == wait


def test_dates_are_read() -> None:
    """An HTTP date is the seconds until then; one that has passed is 0, and one far off a day."""
    now = datetime.now(UTC)
    assert said(format_datetime(now + timedelta(minutes=10), usegmt=True)) == pytest.approx(600, abs=5)
    assert said(format_datetime(now - timedelta(minutes=10), usegmt=True)) == 0
    assert said("Fri, 31 Dec 9999 23:59:59 GMT") == LONGEST_PAUSE
    assert said("Wed, 21 Oct 2015 07:28:00 -0000") == 0


@pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "12 s", "Wed, 99 Oct 2015 07:28:00 GMT", "Wed,", "\x7f"])
def test_what_cannot_be_read_is_the_default(value: str) -> None:
    """A header that says nothing readable counts as one that is not there."""
    assert retry_after(Plain(Retry_After=value)) == 60
    assert retry_after(Plain(Retry_After=value), default=timedelta(seconds=5)) == 5


def test_a_response_without_the_header() -> None:
    """Without the header the default counts; its name is found in any case."""
    assert retry_after(httpx.Response(429)) == 60
    assert retry_after(httpx.Response(429), default=5) == 5
    assert retry_after(Plain(RETRY_AFTER="3")) == 3
    assert retry_after(Plain(retry_after=4)) == 4


@pytest.mark.parametrize("given", [None, 30, "30", Plain])
def test_what_is_no_response_is_told(given: Any) -> None:
    """Something without headers is refused."""
    with pytest.raises(DeclarationError, match="expected a response with headers"):
        retry_after(given)


def test_a_job_says_that_it_was_rate_limited() -> None:
    """`job.rate_limited` takes seconds, a timedelta or a response; a test sees a snoozed result with its seconds."""
    job = Job(payload=Push())
    result = job.rate_limited(retry_after=httpx.Response(429, headers={"Retry-After": "30"}), reason="busy")
    assert (result.outcome, result.seconds, result.reason, result.parks) == ("snoozed", 30, "busy", True)
    assert job.rate_limited(retry_after=timedelta(minutes=2)).seconds == 120
    assert job.rate_limited(retry_after=0).seconds == 1
    assert job.rate_limited(retry_after=timedelta(seconds=0.2)).seconds == 1
    assert job.rate_limited(retry_after=10**6).seconds == LONGEST_PAUSE
    assert job.rate_limited().seconds == 60


@pytest.mark.parametrize("said", ["0", "-3", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_service_is_not_asked_again_at_once(said: str) -> None:
    """A response that asks for no time at all, as clocks that differ make it, is given a second."""
    assert Job(payload=Push()).rate_limited(retry_after=Plain(Retry_After=said)).seconds == 1


@pytest.mark.parametrize("given", [-1, "30", None, float("nan"), True])
def test_a_wrong_duration_is_told(given: Any) -> None:
    """What says no duration is refused."""
    with pytest.raises(DeclarationError, match="retry_after="):
        Job(payload=Push()).rate_limited(retry_after=given)
    with pytest.raises(DeclarationError, match="rate_limited"):
        Job(payload=Push()).rate_limited(retry_after=1, reason=" ")
