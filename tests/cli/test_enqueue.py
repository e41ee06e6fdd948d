import json

import pytest

from jobkit import JobKit
from tests.cli.conftest import Jobkit


def test_enqueue_prints_the_id(jobkit: Jobkit, kit: JobKit) -> None:
    """The payload is read from JSON, the job stored, and its id printed."""
    result = jobkit("enqueue", "notes.keep", '{"text": "hi"}', "--tag", "tenant=t_1", "--tag", "a=b=c")
    assert result.exit_code == 0
    record = kit.jobs.get(result.stdout.strip())
    assert record.payload == {"text": "hi"}
    assert dict(record.status.tags) == {"tenant": "t_1", "a": "b=c"}


def test_payload_from_standard_input(jobkit: Jobkit, kit: JobKit) -> None:
    """A dash reads the payload from standard input; without one it is an empty object."""
    job_id = jobkit("enqueue", "notes.keep", "-", text='{"text": "naïve"}').stdout.strip()
    assert kit.jobs.get(job_id).payload == {"text": "naïve"}
    assert kit.jobs.get(jobkit("enqueue", "notes.keep").stdout.strip()).payload == {"text": "hello"}


def test_options(jobkit: Jobkit, kit: JobKit) -> None:
    """Delay, moment and id do what those of `kit.enqueue` do."""
    assert jobkit("enqueue", "notes.keep", "--delay", "60", "--id", "mine").stdout == "mine\n"
    assert kit.handle("mine").status().state == "scheduled"
    at = jobkit("enqueue", "notes.keep", "--at", "2090-01-31T08:00+01:00").stdout.strip()
    due = kit.handle(at).status().due_at
    assert due is not None
    assert due.isoformat() == "2090-01-31T07:00:00+00:00"


def test_wait_prints_the_result(jobkit: Jobkit, live: JobKit) -> None:
    """With --wait the result is on standard output as JSON, the id beside it."""
    result = jobkit("enqueue", "sums.add", '{"numbers": [40, 2]}', "--wait", "20")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"total": 42, "of": [40, 2]})
    assert live.handle(result.stderr.strip()).status().state == "finished"


def test_wait_for_a_job_that_fails(jobkit: Jobkit, live: JobKit) -> None:
    """A job that fails ends the command with 1 and its traceback."""
    result = jobkit("enqueue", "flaky.try", '{"failures": 3}', "--wait", "20")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "RuntimeError: attempt 3 is meant to fail" in result.stderr


def test_wait_in_vain(jobkit: Jobkit, kit: JobKit) -> None:
    """A wait that is over ends the command with 1, and says how to go on."""
    result = jobkit("enqueue", "notes.keep", "--wait", "0.01")
    assert result.exit_code == 1
    assert "has not ended within 0.01 s: it is queued. It goes on" in result.stderr
    assert "jobkit jobs show" in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["notes.kep"], "no processor for jobs named 'notes.kep'; did you mean 'notes.keep'?"),
        (["notes.keep", '{"txet": "hi"}'], "notes.keep: txet: Extra inputs are not permitted; did you mean 'text'?"),
        (["notes.keep", '{"text": 7}'], "notes.keep: text: Input should be a valid string"),
        (["notes.keep", "{text"], "notes.keep: (whole): Invalid JSON"),
        (["notes.keep", "[]"], "notes.keep: (whole): "),
        (["notes.keep", "--id", "a b"], "job_id: expected 1 to 200 letters, digits, _ and -, got 'a b'"),
        (["notes.keep", "--at", "2090-01-31"], "expected ISO 8601 with a timezone"),
        (["notes.keep", "--at", "tomorrow"], "expected ISO 8601 with a timezone"),
        (["notes.keep", "--delay", "-1"], "-1.0 is not in the range"),
        (["notes.keep", "--delay", "5", "--at", "2090-01-31T08:00Z"], "expected delay= or at=, got both"),
        (["notes.keep", "--tag", "tenant"], "expected KEY=VALUE, got 'tenant'"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_wrong_use(jobkit: Jobkit, kit: JobKit, words: list[str], told: str) -> None:
    """What the caller got wrong is told with 2, and nothing is stored."""
    result = jobkit("enqueue", *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert kit.jobs.ls() == []


def test_too_large(jobkit: Jobkit, kit: JobKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload over the limit is told with the limit and the setting."""
    monkeypatch.setenv("JOBKIT_MAX_PAYLOAD", "20")
    result = jobkit("enqueue", "notes.keep", '{"text": "more than twenty bytes"}')
    assert result.exit_code == 2
    assert "at most 20 bytes of JSON, got 33" in result.stderr
    assert "JOBKIT_MAX_PAYLOAD" in result.stderr
