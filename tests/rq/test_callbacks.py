"""RQ's callbacks of vanilla jobs on a jobkit worker."""

import pytest
from rq import Callback, Retry
from rq.command import send_stop_job_command

from jobkit import JobCancelled, JobFailed
from tests.rq.conftest import FUNCTIONS, Side


def callback(name: str, timeout: int | None = None) -> Callback:
    """Name one of the functions beside this file."""
    return Callback(f"{FUNCTIONS}.{name}", timeout=timeout)


def test_on_success(side: Side) -> None:
    """on_success is called with the job, a connection and the result, before the finish is recorded."""
    job = side.enqueue("double", 4, on_success=callback("succeeded"), on_failure=callback("failed"))
    side.start()
    assert side.told() == [f"success {job.id} 8"]
    assert side.result(job.id) == 8


def test_on_failure(side: Side) -> None:
    """on_failure is called after each failed attempt, with the error."""
    job = side.enqueue("fail", "bad luck", on_failure=callback("failed"), retry=Retry(max=1))
    side.start()
    assert side.told(2) == [f"failure {job.id} ValueError: bad luck"] * 2
    with pytest.raises(JobFailed, match="bad luck"):
        side.result(job.id)


def test_on_failure_of_a_timeout(side: Side) -> None:
    """on_failure is told of a timeout too."""
    job = side.enqueue("spin", 30, job_timeout=1, on_failure=callback("failed"))
    side.start()
    first, second = side.told(2)
    assert (first, second.partition(":")[0]) == ("spinning", f"failure {job.id} JobTimeout")
    with pytest.raises(JobFailed, match="timeout of 1"):
        side.result(job.id)


def test_on_stopped(side: Side) -> None:
    """on_stopped is called for a job that RQ's stop command ended, and on_failure is not."""
    job = side.enqueue("spin", 30, on_stopped=callback("stopped"), on_failure=callback("failed"))
    side.start()
    assert side.told() == ["spinning"]
    send_stop_job_command(side.redis, job.id, serializer="json")
    assert side.told() == [f"stopped {job.id}"]
    with pytest.raises(JobCancelled):
        side.result(job.id)
    assert side.fetch(job.id).get_status() == "stopped"
    assert side.redis.llen("told") == 0


def test_on_stopped_that_hangs(side: Side) -> None:
    """An on_stopped that goes on beyond its grace is given up: the job is stopped, and not retried."""
    job = side.enqueue("spin", 30, on_stopped=callback("waiting_callback"), retry=Retry(max=3))
    side.start(grace=0.2)
    assert side.told() == ["spinning"]
    send_stop_job_command(side.redis, job.id, serializer="json")
    assert side.told() == ["waiting"]
    with pytest.raises(JobCancelled):
        side.result(job.id)
    assert side.fetch(job.id).get_status() == "stopped"
    side.redis.rpush("go", "on")


@pytest.mark.parametrize("name", ["on_success", "on_failure", "on_stopped"])
def test_a_callback_needs_leave(side: Side, name: str) -> None:
    """A job with a callback that the settings do not allow is refused before its function runs."""
    job = side.enqueue("ran", "x", **{name: Callback("os.getcwd")})
    side.start()
    with pytest.raises(JobFailed, match=r"'os\.getcwd'.*JOBKIT_RQ_FUNCTIONS"):
        side.result(job.id)
    assert side.redis.llen("told") == 0


def test_a_callback_that_is_not_there(side: Side) -> None:
    """A callback that does not exist is found out before the function runs."""
    job = side.enqueue("ran", "x", on_success=callback("nowhere"))
    side.start()
    with pytest.raises(JobFailed, match="no such function"):
        side.result(job.id)
    assert side.redis.llen("told") == 0


def test_on_success_that_raises(side: Side) -> None:
    """An on_success that raises fails its job, and on_failure is told."""
    job = side.enqueue("double", 4, on_success=callback("bad_callback"), on_failure=callback("failed"))
    side.start()
    assert side.told() == [f"failure {job.id} RuntimeError: the callback broke"]
    with pytest.raises(JobFailed, match="on_success callback"):
        side.result(job.id)


def test_on_failure_that_raises(side: Side) -> None:
    """An on_failure that raises is told with the job's own error, which stands."""
    job = side.enqueue("fail", on_failure=callback("bad_callback"))
    side.start()
    with pytest.raises(JobFailed, match=r"(?s)ValueError: no.*bad_callback raised RuntimeError"):
        side.result(job.id)


def test_a_callback_has_a_timeout_of_its_own(side: Side) -> None:
    """A callback is interrupted at its own timeout, whatever the job's."""
    job = side.enqueue("double", 4, job_timeout=-1, on_success=Callback(f"{FUNCTIONS}.slow_callback", timeout=1))
    side.start()
    assert side.told() == ["spinning"]
    with pytest.raises(JobFailed, match=r"(?s)on_success callback.*JobTimeout|JobTimeout.*on_success callback"):
        side.result(job.id)
