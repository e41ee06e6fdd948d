"""Pauses as an application and its operators use them, with workers beside."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from jobkit import DeclarationError, JobKit, JobkitError, JobState, Pause, UnknownQueue
from tests.kit.app import NEVER_LONG, Add, Note, Stage, make_kit

NAIVE = datetime(2030, 1, 31, 8)  # noqa: DTZ001 - that is the mistake
SOON = timedelta(minutes=10)


def test_a_pause_says_who_and_why(kit: JobKit) -> None:
    """A pause comes back as it was made, is listed by any kit, and is a frozen value."""
    until = datetime.now(UTC).replace(microsecond=0) + SOON
    made = kit.pause(queue="notes", name="notes.keep", tag=("tenant", "t_9"), reason="bad scans", until=until, by="ann")
    assert (made.queue, made.name, made.tag) == ("notes", "notes.keep", ("tenant", "t_9"))
    assert (made.reason, made.by, made.until) == ("bad scans", "ann", until)
    assert abs(made.since - datetime.now(UTC)) < SOON
    assert kit.pauses() == [made]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.reason = "none"  # type: ignore[misc]


def test_the_caller_is_who_pauses(kit: JobKit) -> None:
    """Without a name it is the user on this host."""
    assert re.fullmatch(r".+@.+", kit.pause(queue="notes").by)


def test_resuming_ends_what_is_named(kit: JobKit) -> None:
    """A pause, an id, or just the options it was made with end pauses, and no others; the count is told."""
    first, second = kit.pause(queue="notes"), kit.pause(name="notes.keep")
    both = [kit.pause(queue="notes", tag=("tenant", "t_9")) for _ in range(2)]
    assert kit.resume(tag=("tenant", "t_9")) == 0
    assert kit.resume(queue="notes", tag=("tenant", "t_9")) == len(both)
    assert kit.resume(first) == 1
    assert kit.resume(first) == 0
    assert kit.resume(second.id) == 1
    assert kit.pauses() == []


def test_a_queue_of_others_may_be_paused(kit: JobKit) -> None:
    """A queue that this Redis knows need not be declared."""
    kit.store.client.sadd("rq:queues", "rq:queue:theirs")
    assert kit.pause(queue="theirs").queue == "theirs"


def test_two_workers_obey(store_url: str) -> None:
    """No worker begins a job of a paused queue, all serve the others; all jobs run once they may, without a wait."""
    stage = Stage()
    with make_kit(store_url, stage).running() as kit, make_kit(store_url, stage).running():
        made = kit.pause(queue="notes", reason="the disk is full")
        handles = kit.enqueue_many([Note(text=str(n)) for n in range(20)])
        assert kit.enqueue(Add(numbers=[1, 2])).result(NEVER_LONG).total == 3
        assert stage.notes == []
        assert {each.status().state for each in handles} == {JobState.QUEUED}
        kit.resume(made)
        for each in handles:
            each.result(NEVER_LONG)
    assert sorted(stage.notes, key=int) == [str(n) for n in range(20)]


def test_a_tag_is_paused_while_others_run(live: JobKit, stage: Stage) -> None:
    """Jobs with the tag wait, many of them in front of another job, which runs; the status says why they wait."""
    live.pause(tag=("tenant", "t_9"), reason="bad scans")
    held = [live.enqueue(Note(text="held"), tags={"tenant": "t_9"}) for _ in range(400)]
    live.enqueue(Note(text="free"), tags={"tenant": "t_1"}).result(NEVER_LONG)
    assert stage.notes == ["free"]
    status = held[0].status()
    assert (status.state, status.reason) == (JobState.QUEUED, "paused: bad scans")
    assert live.resume(tag=("tenant", "t_9")) == 1
    for each in held:
        each.result(NEVER_LONG)
    assert stage.notes == ["free"] + ["held"] * len(held)
    assert live.store.client.keys("rq:jk:held*") == live.store.client.keys("rq:jk:pauses") == []


def test_a_held_job_is_cancelled_by_its_handle(live: JobKit, stage: Stage) -> None:
    """A held job ends at once when it is cancelled."""
    live.pause(name="notes.keep")
    handle = live.enqueue(Note())
    assert live.enqueue(Add(numbers=[1])).result(NEVER_LONG).total == 1
    assert handle.cancel()
    assert live.resume(name="notes.keep") == 1
    assert handle.status().state is JobState.CANCELED
    assert stage.notes == []


def test_a_pause_ends_by_itself(live: JobKit) -> None:
    """Once its time is over by the server's clock, workers begin what waited, and nothing is listed."""
    live.pause(queue="notes", until=datetime.now(UTC) + SOON)
    handle = live.enqueue(Note())
    assert live.enqueue(Add(numbers=[1])).result(NEVER_LONG).total == 1
    assert handle.status().state is JobState.QUEUED
    live.store.client.set("rq:jk:clock", round((datetime.now(UTC) + 2 * SOON).timestamp() * 1000))
    handle.result(NEVER_LONG)
    assert live.pauses() == []


MISTAKES: dict[str, tuple[Callable[[JobKit], Any], type[JobkitError], str]] = {
    "nothing": (lambda kit: kit.pause(), DeclarationError, "pause: expected at least one of queue=, name= and tag="),
    "a reason alone": (lambda kit: kit.pause(reason="x"), DeclarationError, "pause: expected at least one of queue="),
    "unknown queue": (lambda kit: kit.pause(queue="note"), UnknownQueue, "unknown queue 'note'; did you mean 'notes'?"),
    "a queue that is no name": (
        lambda kit: kit.pause(queue=3),  # type: ignore[arg-type]
        DeclarationError,
        "pause(queue=): expected a name (str), got 3",
    ),
    "a name with a space": (lambda kit: kit.pause(name="a b"), DeclarationError, "pause(name=): expected 1 to 200"),
    "a past end": (
        lambda kit: kit.pause(queue="notes", until=datetime.now(UTC) - SOON),
        DeclarationError,
        "pause(until=): expected a moment that is still to come, got datetime",
    ),
    "a naive end": (
        lambda kit: kit.pause(queue="notes", until=NAIVE),
        DeclarationError,
        "pause(until=): expected a datetime with a timezone, got the naive",
    ),
    "seconds as the end": (
        lambda kit: kit.pause(queue="notes", until=60),  # type: ignore[arg-type]
        DeclarationError,
        "pause(until=): expected a datetime with a timezone, got 60",
    ),
    "a tag that is no pair": (
        lambda kit: kit.pause(tag=("tenant",)),  # type: ignore[arg-type]
        DeclarationError,
        "pause(tag=): expected a pair of str, such as ('tenant', 't_9'), got ('tenant',)",
    ),
    "a tag as text": (
        lambda kit: kit.pause(tag="ab"),  # type: ignore[arg-type]
        DeclarationError,
        "pause(tag=): expected a pair of str",
    ),
    "a tag of numbers": (
        lambda kit: kit.pause(tag=("tenant", 9)),  # type: ignore[arg-type]
        DeclarationError,
        "pause(tag=): expected a pair of str",
    ),
    "half a character": (
        lambda kit: kit.pause(tag=("tenant", "\ud800")),
        DeclarationError,
        "pause(tag=): expected text that UTF-8 can hold, got '\\ud800'",
    ),
    "a reason that is no text": (
        lambda kit: kit.pause(queue="notes", reason=None),  # type: ignore[arg-type]
        DeclarationError,
        "pause(reason=): expected a str of at most 1000 characters, got None",
    ),
    "a long reason": (
        lambda kit: kit.pause(queue="notes", reason="x" * 1001),
        DeclarationError,
        "pause(reason=): expected a str of at most 1000 characters",
    ),
    "nothing to resume": (lambda kit: kit.resume(), DeclarationError, "resume: expected at least one of queue="),
    "a pause and options": (
        lambda kit: kit.resume("p", queue="notes"),
        DeclarationError,
        "resume: expected a pause, or queue=, name= and tag=, got both",
    ),
    "a number to resume": (
        lambda kit: kit.resume(3),  # type: ignore[arg-type]
        DeclarationError,
        "resume: expected a Pause or its id (str), got 3",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(kit: JobKit, mistake: str) -> None:
    """What is wrong is named with what was expected, and nothing is paused."""
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=re.escape(message)):
        call(kit)
    assert kit.pauses() == []


def test_a_pause_is_light() -> None:
    """The value can be made and compared without a kit."""
    moment = datetime(2030, 1, 31, tzinfo=UTC)
    made = Pause(id="p", queue="q", name=None, tag=None, reason="", by="me", since=moment, until=None)
    assert made == attrs.evolve(made)
