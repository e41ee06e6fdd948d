import json

import pytest
import redis

from jobkit import JobFailed, JobKit
from tests.cli.conftest import Jobkit
from tests.kit.app import NEVER_LONG, Add, Flaky, Note


def test_ls_lists_whole_jobs(jobkit: Jobkit, kit: JobKit) -> None:
    """In a pipe each job is one line of eight fields, its id whole."""
    first = kit.enqueue(Note(), tags={"tenant": "t_1"})
    second = kit.enqueue(Note(), delay=3600)
    lines = [line.split() for line in jobkit("jobs", "ls").stdout.splitlines()]
    assert lines[0] == ["id", "job", "queue", "state", "attempt", "when", "tags", "note"]
    assert [(line[0], line[3]) for line in lines[1:]] == [(first.id, "queued"), (second.id, "scheduled")]
    assert lines[1][6:] == ["tenant=t_1", "-"]


def test_ls_filters(jobkit: Jobkit, kit: JobKit) -> None:
    """Queue, state, tag and limit choose the jobs."""
    note = kit.enqueue(Note(), tags={"tenant": "t_1"})
    later = kit.enqueue(Note(), delay=3600)
    add = kit.enqueue(Add(numbers=[]))

    def ids(*words: str) -> set[str]:
        return {json.loads(line)["id"] for line in jobkit("jobs", "ls", "--json", *words).stdout.splitlines()}

    assert ids() == {note.id, later.id, add.id}
    assert ids("--queue", "notes") == {note.id, later.id}
    assert ids("--queue", "notes", "--state", "scheduled") == {later.id}
    assert ids("--tag", "tenant=t_1") == {note.id}
    assert ids("--tag", "tenant=t_2") == set()
    assert len(ids("--limit", "2")) == 2


def test_ls_says_that_there_are_more(jobkit: Jobkit, kit: JobKit) -> None:
    """A list that the limit has cut says so, beside its output."""
    kit.enqueue_many([Note() for _ in range(3)])
    result = jobkit("jobs", "ls", "--limit", "2")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "These are the first 2; --limit shows more.\n"


def test_ls_of_nothing(jobkit: Jobkit) -> None:
    """No jobs is no error; JSON prints nothing at all."""
    assert (jobkit("jobs", "ls").stdout, jobkit("jobs", "ls").stderr) == ("", "no jobs\n")
    assert jobkit("jobs", "ls", "--json").output == ""
    assert jobkit("jobs", "ls").exit_code == 0


def test_ls_json_has_the_whole_status(jobkit: Jobkit, kit: JobKit) -> None:
    """A line of JSON holds every field of the status, times in ISO 8601."""
    handle = kit.enqueue(Note(), delay=3600, tags={"tenant": "t_1"})
    job = json.loads(jobkit("jobs", "ls", "--json").stdout)
    status = handle.status()
    assert set(job) == {each.name for each in type(status).__attrs_attrs__}  # type: ignore[attr-defined]
    assert (job["id"], job["state"], job["tags"]) == (handle.id, "scheduled", {"tenant": "t_1"})
    assert status.due_at is not None
    assert job["due_at"] == status.due_at.isoformat()


def test_show_tells_the_attempts(jobkit: Jobkit, live: JobKit) -> None:
    """A job is shown with its payload and how each attempt ended, the traceback of a failed one whole."""
    handle = live.enqueue(Flaky(failures=1), tags={"tenant": "t_1"})
    handle.result(timeout=NEVER_LONG)
    told = jobkit("jobs", "show", handle.id).stdout
    assert told.startswith("flaky.try  finished\n")
    for each in (handle.id, "attempt   2 of 3", "tags      tenant=t_1", '"failures": 1', "attempt 1  retried"):
        assert each in told
    assert "RuntimeError: attempt 1 is meant to fail" in told
    assert '"answered at attempt 2"' in told


def test_show_json_has_the_whole_record(jobkit: Jobkit, live: JobKit) -> None:
    """JSON holds the status, the payload, the timeout and the attempts."""
    handle = live.enqueue(Flaky(failures=3))
    with pytest.raises(JobFailed):
        handle.result(timeout=NEVER_LONG)
    record = json.loads(jobkit("jobs", "show", handle.id, "--json").stdout)
    assert set(record) == {"status", "payload", "timeout", "attempts"}
    assert record["payload"] == {"failures": 3}
    assert [each["outcome"] for each in record["attempts"]] == ["retried", "retried", "failed"]
    assert set(record["attempts"][0]) == {"outcome", "result", "error", "worker", "started_at", "ended_at"}


def test_show_an_unreadable_job(jobkit: Jobkit, kit: JobKit, store_url: str) -> None:
    """A job that cannot be read is shown with the reason and its bytes."""
    with redis.Redis.from_url(store_url) as client:
        client.hset("rq:job:odd", mapping={"data": b"\xff\xfe", "origin": "notes", "status": "queued"})
    told = jobkit("jobs", "show", "odd").stdout
    assert told.startswith("(unreadable)  queued\n")
    assert r"b'\\xff\\xfe'" in told


def test_missing_job(jobkit: Jobkit) -> None:
    """A job that is not there is a failure with a message."""
    result = jobkit("jobs", "show", "never-was")
    assert result.exit_code == 1
    assert result.stderr == "Error: no job 'never-was': it was never enqueued here, or retention has removed it\n"


def test_retry_queues_again(jobkit: Jobkit, live: JobKit) -> None:
    """A failed job is queued again; those that cannot be are told, keep nobody from it, and end the command with 1."""
    failed = live.enqueue(Flaky(failures=3))
    with pytest.raises(JobFailed):
        failed.result(timeout=NEVER_LONG)
    done = live.enqueue(Note())
    done.result(timeout=NEVER_LONG)
    result = jobkit("jobs", "retry", "never-was", done.id, failed.id)
    assert result.exit_code == 1
    assert result.stdout == f"{failed.id} queued\n"
    assert result.stderr.splitlines() == [
        "no job 'never-was': it was never enqueued here, or retention has removed it",
        f"{done.id} is finished: only failed, stopped, canceled and scheduled jobs are retried",
    ]


def test_retry_of_a_scheduled_job(jobkit: Jobkit, kit: JobKit) -> None:
    """A scheduled job is queued at once."""
    later = kit.enqueue(Note(), delay=3600)
    assert jobkit("jobs", "retry", later.id).exit_code == 0
    assert later.status().state == "queued"


def test_cancel(jobkit: Jobkit, kit: JobKit) -> None:
    """A cancelled job keeps the reason; one that had ended is told, with 1."""
    handle = kit.enqueue(Note())
    result = jobkit("jobs", "cancel", handle.id, "--reason", "the tenant has left")
    assert (result.exit_code, result.stdout) == (0, f"{handle.id} canceled\n")
    status = handle.status()
    assert (status.state, status.reason) == ("canceled", "the tenant has left")
    again = jobkit("jobs", "cancel", handle.id)
    assert (again.exit_code, again.stderr) == (1, f"{handle.id} had ended already\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["jobs", "ls", "--queue", "note"], "unknown queue 'note'; did you mean 'notes'?"),
        (["jobs", "ls", "--state", "done"], "'done' is not one of"),
        (["jobs", "ls", "--tag", "tenant"], "expected KEY=VALUE, got 'tenant'"),
        (["jobs", "ls", "--limit", "0"], "0 is not in the range"),
        (["jobs", "show"], "Missing argument 'JOB_ID'"),
        (["jobs", "retry"], "Missing argument 'JOB_ID...'"),
        (["jobs", "shw"], "No such command 'shw'"),
    ],
)
def test_wrong_use(jobkit: Jobkit, words: list[str], told: str) -> None:
    """What the caller got wrong is told, with 2."""
    result = jobkit(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""
