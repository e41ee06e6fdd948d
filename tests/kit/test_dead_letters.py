import pytest
import redis
import rq
from rq.serializers import JSONSerializer

from jobkit import JobFailed, JobKit, JobState
from tests.kit.app import NEVER_LONG, Add, Loose, Note, Stage, make_kit


@pytest.fixture
def raw(store_url: str) -> redis.Redis:
    """Give a client that writes what no jobkit client would."""
    return redis.Redis.from_url(store_url)


def push(raw: redis.Redis, job_id: str, **fields: str | bytes) -> None:
    """Put a job into the queue by hand, as another program might."""
    whole: dict[str | bytes, str | bytes] = {
        "status": "queued",
        "origin": "sums",
        "created_at": "2030-01-31T08:00:00.000000Z",
        "enqueued_at": "2030-01-31T08:00:00.000000Z",
        "timeout": "30",
        **fields,
    }
    raw.hset(f"rq:job:{job_id}", mapping=whole)
    raw.sadd("rq:queues", "rq:queue:sums")
    raw.rpush("rq:queue:sums", job_id)


def serve(store_url: str, *bad: str) -> dict[str, str]:
    """Start a worker, see that good jobs are served, and give the error of each bad one."""
    told = {}
    with make_kit(store_url, Stage()).running() as kit:
        for number in range(5):
            assert kit.enqueue(Add(numbers=[number])).result(timeout=NEVER_LONG).total == number
        for job_id in bad:
            with pytest.raises(JobFailed) as caught:
                kit.handle(job_id).result(timeout=NEVER_LONG)
            told[job_id] = str(caught.value)
            assert kit.handle(job_id).status().state is JobState.FAILED
        assert {job.id for job in kit.jobs.ls(state="failed")} == set(bad)
    return told


def test_pickled_job_is_not_opened(kit: JobKit, raw: redis.Redis, store_url: str) -> None:
    """A job that RQ's default client pickled goes to the dead letters unread, with the remedy; others go on."""
    kit.enqueue(Add(numbers=[1]))
    job = rq.Queue("sums", connection=raw).enqueue("os.getcwd", job_id="pickled")
    told = serve(store_url, job.id)[job.id]
    assert "jobkit never unpickles" in told
    assert 'Queue(..., serializer="json")' in told
    assert 'serializer="json"' in str(kit.jobs.get(job.id).status.error)
    assert kit.jobs.get(job.id).payload["why"].startswith("the job's data is pickled")


def test_corrupt_jobs_keep_their_bytes(kit: JobKit, raw: redis.Redis, store_url: str) -> None:
    """Hashes whose data cannot be read go to the dead letters with their bytes; others go on."""
    push(raw, "noise", data=b"\xfe\xff not json")
    push(raw, "list", data=b"[1, 2]")
    push(raw, "misfit", data=b'["jobkit.worker.perform",null,["sums.add",1,{"numbers":"many"}],{}]')
    push(raw, "extra", data=b'["jobkit.worker.perform",null,["sums.add",1,{"numbers":[]}],{}]', jk=b"{nonsense")
    push(raw, "broken", data=b'["jobkit.worker.perform",null,["sums.add",1,{"numbers":]],{}]')
    told = serve(store_url, "noise", "list", "misfit", "extra", "broken")
    assert "not RQ's JSON call" in told["noise"]
    assert r"\xfe\xff not json" in told["noise"]
    assert "[1, 2]" in told["list"]
    assert "sums.add: its payload (version 1) does not fit version 1: numbers:" in told["misfit"]
    assert "the job's field jk is not jobkit's JSON" in told["extra"]
    for job_id in ("noise", "list", "misfit", "extra", "broken"):
        assert kit.jobs.get(job_id).status.state is JobState.FAILED


def test_entry_without_a_job_is_dropped(kit: JobKit, raw: redis.Redis, store_url: str) -> None:
    """An id in the queue whose job is gone is dropped, and others go on."""
    raw.rpush("rq:queue:sums", "gone")
    assert serve(store_url) == {}
    assert raw.lrange("rq:queue:sums", 0, -1) == []


def test_unserialisable_result_is_not_retried(live: JobKit) -> None:
    """A result that has no JSON fails its job at once: the effects have happened, a retry would repeat them."""
    handle = live.enqueue(Loose())
    with pytest.raises(JobFailed, match="its result cannot be written as JSON"):
        handle.result(timeout=NEVER_LONG)
    record = live.jobs.get(handle.id)
    assert [each.outcome for each in record.attempts] == ["failed"]
    assert live.enqueue(Add(numbers=[1])).result(timeout=NEVER_LONG).total == 1


def test_function_that_settings_do_not_allow(kit: JobKit, raw: redis.Redis, store_url: str) -> None:
    """A plain function that another client enqueued is not called unless the settings allow it."""
    job = rq.Queue("sums", connection=raw, serializer=JSONSerializer).enqueue("os.getcwd", job_id="plain")
    assert "JOBKIT_RQ_FUNCTIONS" in serve(store_url, job.id)[job.id]


def test_unknown_name_waits_for_newer_workers(live: JobKit, raw: redis.Redis, store_url: str) -> None:
    """A job whose name this worker does not know waits, with the reason on it and no attempt used; others go on."""
    push(raw, "newer", data=b'["jobkit.worker.perform",null,["sums.subtract",1,{}],{}]')
    other = live.enqueue(Add(numbers=[1]))
    assert other.result(timeout=NEVER_LONG).total == 1
    while (status := live.handle("newer").status()).state is not JobState.SCHEDULED:
        live.enqueue(Add(numbers=[1])).result(timeout=NEVER_LONG)  # until the worker has come to it
    assert status.attempt == 0
    assert status.reason is not None
    assert "no processor for jobs named 'sums.subtract'" in status.reason


def test_dead_letter_runs_again(live: JobKit) -> None:
    """A failed job that is retried gets all its attempts anew, and its waiters the new end."""
    from tests.kit.app import Flaky

    handle = live.enqueue(Flaky(failures=3))
    with pytest.raises(JobFailed):
        handle.result(timeout=NEVER_LONG)
    assert live.jobs.retry(handle.id) == "queued"
    with pytest.raises(JobFailed, match="attempt 3 is meant to fail"):
        handle.result(timeout=NEVER_LONG)
    assert [each.outcome for each in live.jobs.get(handle.id).attempts] == ["retried", "retried", "failed"] * 2


def test_good_job_is_not_retried(live: JobKit) -> None:
    """A job that has finished stays finished."""
    handle = live.enqueue(Note())
    handle.result(timeout=NEVER_LONG)
    assert live.jobs.retry(handle.id) == "finished"
