import json
from datetime import UTC, datetime, timedelta

import pytest

from jobkit import JobKit
from tests.cli.conftest import Jobkit

SELECTION = ("--queue", "notes", "--name", "notes.keep", "--tag", "tenant=t_9")


def test_pause_and_resume(jobkit: Jobkit, kit: JobKit) -> None:
    """`pause` prints the id, `resume` takes it; the pause says who and why."""
    done = jobkit("pause", *SELECTION, "--reason", "bad scans", "--by", "ann")
    (made,) = kit.pauses()
    assert (done.exit_code, done.stdout) == (0, f"{made.id}\n")
    assert (made.queue, made.name, made.tag) == ("notes", "notes.keep", ("tenant", "t_9"))
    assert (made.reason, made.by, made.until) == ("bad scans", "ann", None)
    done = jobkit("resume", made.id)
    assert (done.exit_code, done.stdout) == (0, "1 pause ended\n")
    assert kit.pauses() == []


def test_resume_by_what_was_paused(jobkit: Jobkit, kit: JobKit) -> None:
    """The options of a pause end it, and all that were made with just these."""
    kit.pause(queue="notes")
    kit.pause(queue="notes")
    jobkit("pause", *SELECTION)
    assert jobkit("resume", *SELECTION).stdout == "1 pause ended\n"
    assert jobkit("resume", "--queue", "notes").stdout == "2 pauses ended\n"


def test_the_end_of_a_pause(jobkit: Jobkit, kit: JobKit) -> None:
    """`--for` counts from now, `--until` names the moment."""
    jobkit("pause", "--queue", "notes", "--for", "1h30m")
    jobkit("pause", "--queue", "notes", "--until", "2130-01-31T08:00+01:00")
    first, second = kit.pauses()
    assert first.until is not None
    assert abs(first.until - datetime.now(UTC) - timedelta(minutes=90)) < timedelta(minutes=1)
    assert second.until == datetime(2130, 1, 31, 7, tzinfo=UTC)


def test_pauses_lists_them(jobkit: Jobkit, kit: JobKit) -> None:
    """A pause is a line, whole in a pipe; as JSON too."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    made = kit.pause(name="notes.keep", tag=("tenant", "t_9"), reason="bad scans\nof May", until=until, by="ann")
    title, line = jobkit("pauses").stdout.splitlines()
    assert title.split() == ["id", "queue", "job", "tag", "by", "since", "until", "reason"]
    since = made.since.isoformat(timespec="seconds")
    told = [made.id, "-", "notes.keep", "tenant=t_9", "ann", since, until.isoformat(), "bad", "scans", "of", "May"]
    assert line.split() == told
    assert json.loads(jobkit("pauses", "--json").stdout) == {
        "id": made.id,
        "queue": None,
        "name": "notes.keep",
        "tag": ["tenant", "t_9"],
        "reason": "bad scans\nof May",
        "by": "ann",
        "since": made.since.isoformat(),
        "until": until.isoformat(),
    }


def test_nothing_is_paused(jobkit: Jobkit) -> None:
    """Without a pause nothing is on standard output."""
    result = jobkit("pauses")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing is paused\n")


def test_queues_shows_it(jobkit: Jobkit, kit: JobKit) -> None:
    """A paused queue is marked; a queue with a pause of some of its jobs is not."""
    kit.pause(queue="notes")
    kit.pause(queue="sums", name="sums.add")
    result = jobkit("queues", "ls")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["queue", "sums", "notes!"]
    assert result.stderr == "! paused: `jobkit pauses` says by whom and why\n"
    found = {each["name"]: each for each in map(json.loads, jobkit("queues", "ls", "--json").stdout.splitlines())}
    assert (found["sums"]["paused"], found["notes"]["paused"]) == (False, True)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("pause",), 2, "expected at least one of queue=, name= and tag="),
        (("pause", "--queue", "note"), 2, "unknown queue 'note'; did you mean 'notes'?"),
        (("pause", "--tag", "tenant"), 2, "expected KEY=VALUE, got 'tenant'"),
        (("pause", "--tag", "a=1", "--tag", "b=2"), 2, "a pause is about one label"),
        (
            ("pause", "--queue", "notes", "--for", "soon"),
            2,
            "expected a duration such as 90s, 10m, 1h30m or 2d, got 'soon'",
        ),
        (("pause", "--queue", "notes", "--for", "999999d"), 2, "expected a duration"),
        (("pause", "--queue", "notes", "--for", "0s"), 2, "expected a duration"),
        (("pause", "--queue", "notes", "--until", "2130-01-31"), 2, "expected ISO 8601 with a timezone"),
        (("pause", "--queue", "notes", "--until", "2020-01-31T08:00Z"), 2, "expected a moment that is still to come"),
        (("pause", "--queue", "notes", "--until", "2130-01-31T08:00Z", "--for", "1m"), 2, "expected --until or --for"),
        (("resume",), 2, "expected the ids of pauses, or --queue, --name and --tag"),
        (("resume", "p1", "--queue", "notes"), 2, "expected the ids of pauses, or --queue, --name and --tag"),
        (("resume", "p1", "p2"), 1, "no pause p1, p2: `jobkit pauses` lists them"),
        (("resume", "--queue", "notes"), 1, "no pause of just this: `jobkit pauses` lists them"),
    ],
)
def test_mistakes_are_told(jobkit: Jobkit, kit: JobKit, words: tuple[str, ...], code: int, told: str) -> None:
    """A mistake ends with its code and says what was expected; nothing is paused."""
    result = jobkit(*words)
    assert result.exit_code == code
    assert told in result.stderr
    assert kit.pauses() == []


def test_resume_ends_what_is_there(jobkit: Jobkit, kit: JobKit) -> None:
    """An unknown id among others does not keep these from being ended, and is told."""
    result = jobkit("resume", kit.pause(queue="notes").id, "p2")
    assert (result.exit_code, result.stdout) == (1, "1 pause ended\n")
    assert "no pause p2" in result.stderr
    assert kit.pauses() == []
