import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobkit.errors import CorruptJob, DeclarationError, NotSerialisable, Parked, UnknownJobName, WrongPayload
from jobkit.payloads import Payload
from jobkit.results import PLAIN, Draft, EnqueueOptions, JobResult, as_draft, draft


class Mail(Payload[int], name="mail", queue="mail", aliases=["post"]):
    to: str


class Other(Payload, name="other", queue="mail"): ...


MAIL = Mail(to="a@b.example")


def test_completed_carries_value_and_follow_ups() -> None:
    """A completed result gives its value back, and follow-ups as they were given."""
    later = draft(MAIL, delay=3)
    result = JobResult.completed(7, then=[MAIL, later])
    assert (result.outcome, result.value, result.then) == ("completed", 7, (MAIL, later))
    assert JobResult.completed().value is None


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ([Mail], r"then=: expected a payload, got the class Mail; did you mean Mail\(\.\.\.\)"),
        (MAIL, r"then=: expected a list .*did you mean then=\[Mail\(\.\.\.\)\]"),
        (draft(MAIL), r"did you mean then=\["),
        ("mail", "then=: expected a list"),
        (None, "then=: expected a list"),
        ([None], "then=: expected a payload"),
        ([{"to": "x"}], "then=: expected a payload"),
    ],
)
def test_wrong_follow_ups_are_told(then: Any, message: str) -> None:
    """A class, a lone payload or anything else in `then` is refused where it is written."""
    with pytest.raises(WrongPayload, match=message):
        JobResult.completed(1, then=then)


def test_snoozed_and_cancelled_say_why() -> None:
    """They carry seconds and a reason, and have no value."""
    snoozed = JobResult.snoozed(timedelta(minutes=1), "busy")
    assert (snoozed.outcome, snoozed.seconds, snoozed.reason) == ("snoozed", 60.0, "busy")
    cancelled = JobResult.cancelled("gone")
    assert (cancelled.outcome, cancelled.reason) == ("cancelled", "gone")
    with pytest.raises(DeclarationError, match="expected a completed result, got one that was cancelled: gone"):
        _ = cancelled.value


@pytest.mark.parametrize(
    "make",
    [
        lambda: JobResult.snoozed(-1, "x"),
        lambda: JobResult.snoozed("1", "x"),
        lambda: JobResult.snoozed(1e10, "x"),
        lambda: JobResult.snoozed(1, ""),
        lambda: JobResult.cancelled(" "),
        lambda: JobResult.cancelled(None),
    ],
)
def test_wrong_outcomes_are_told(make: Callable[[], Any]) -> None:
    """A wait that is none, or a missing reason, is refused."""
    with pytest.raises(DeclarationError, match="expected"):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": -1}, "delay=: expected 0 seconds or more, got -1"),
        ({"delay": 1e308}, "delay=: expected at most 3155760000 seconds, got 1e"),
        ({"delay": "5s"}, "delay=: expected seconds"),
        ({"delay": False}, "delay=: expected seconds"),
        ({"at": datetime(2026, 1, 1)}, "at=: expected a datetime with a timezone"),  # noqa: DTZ001 - the point
        ({"at": datetime(2026, 1, 1, tzinfo=UTC), "delay": 1}, "expected delay= or at=, got both"),
        ({"tags": ["a"]}, "tags=: expected a mapping"),
        ({"tags": {"a": 1}}, "tags=: expected names and values that are str"),
        ({"tags": {"": "a"}}, "tags="),
        ({"tags": {"file": "\udc80"}}, "tags=: expected text that UTF-8 can hold"),
        ({"job_id": "a b"}, "job_id: expected"),
        ({"job_id": ""}, "job_id: expected"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    """Each option of a draft is checked when it is made."""
    with pytest.raises(DeclarationError, match=message):
        draft(MAIL, **options)


def test_misspelt_options_are_told() -> None:
    """EnqueueOptions suggests the nearest name."""
    with pytest.raises(DeclarationError, match="did you mean 'delay'"):
        EnqueueOptions(dely=1)


def test_drafts_have_an_id_of_their_own() -> None:
    """Each draft makes its id, so that sending it twice makes one job; a given id is kept."""
    assert draft(MAIL).id != draft(MAIL).id
    assert draft(MAIL, job_id="mail-7").id == "mail-7"
    assert draft(MAIL).options is PLAIN
    assert draft(MAIL, delay=timedelta(seconds=2)).options.delay == 2.0


def test_tags_are_copied() -> None:
    """What the caller does to its mapping afterwards does not change the draft."""
    tags = {"tenant": "t"}
    one = draft(MAIL, tags=tags)
    tags["tenant"] = "other"
    assert dict(one.options.tags) == {"tenant": "t"}


def test_as_draft() -> None:
    """A draft stays itself, a payload gets one, anything else is refused."""
    one = draft(MAIL)
    assert as_draft(one, "enqueue") is one
    assert as_draft(MAIL, "enqueue").payload is MAIL
    with pytest.raises(WrongPayload, match="enqueue: expected a payload"):
        as_draft(Mail, "enqueue")


@pytest.mark.parametrize(
    "one",
    [
        draft(MAIL),
        draft(MAIL, delay=1.5, tags={"tenant": "t"}, job_id="m-1"),
        draft(MAIL, at=datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_drafts_travel(one: Any) -> None:
    """A draft comes back from an outbox row as it was, its class found by name."""
    assert Draft.from_json(one.to_json(), Other, Mail) == one


def test_drafts_are_found_by_alias() -> None:
    """A row that was written under an earlier name finds its class."""
    row = json.loads(draft(MAIL).to_json())
    row["name"] = "post"
    assert Draft.from_json(json.dumps(row), Mail).payload == MAIL


def test_drafts_that_cannot_be_read_are_told() -> None:
    """A broken row, an unknown name and newer data are told apart."""
    with pytest.raises(CorruptJob, match="expected the JSON of a draft"):
        Draft.from_json("{}", Mail)
    with pytest.raises(UnknownJobName, match="holds 'mail'"):
        Draft.from_json(draft(MAIL).to_json(), Other)
    row = json.loads(draft(MAIL).to_json())
    with pytest.raises(Parked, match="version 2"):
        Draft.from_json(json.dumps(row | {"version": 2}), Mail)


def test_a_draft_that_does_not_come_back_is_told_when_written() -> None:
    """`to_json` checks the payload as an enqueue does."""
    with pytest.raises(NotSerialisable, match=r"Mail\.to"):
        draft(Mail.model_construct(to=3)).to_json()
