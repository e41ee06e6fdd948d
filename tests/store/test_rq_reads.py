"""What jobkit writes, RQ's own classes and tools read."""

from datetime import UTC, datetime

import pytest
import rq
from click.testing import CliRunner
from rq.cli import main as rq_cli
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.results import Result

from jobkit.store import operations
from jobkit.store.presence import Presence
from tests.store.world import World, done_with


def fetch(world: World, job_id: str) -> Job:
    """Fetch a job as RQ does."""
    return Job.fetch(job_id, connection=world.redis, serializer="json")


def ids(registry: type, world: World) -> list[str]:
    """Give what RQ's registry lists, with the cleanup that RQ's tools run."""
    return registry("a", connection=world.redis, serializer="json").get_job_ids()


def test_queued(world: World) -> None:
    """A queued job is RQ's queued job: call, arguments, origin, times, timeout."""
    world.enqueue("j")
    job = fetch(world, "j")
    assert job.get_status() is JobStatus.QUEUED
    assert (job.func_name, job.args, job.kwargs) == ("jobkit.worker.perform", ["acme.work", 1, {"n": 1}], {})
    assert (job.origin, job.timeout) == ("a", 60)
    assert job.created_at is not None
    assert abs((datetime.now(UTC) - job.enqueued_at).total_seconds()) < 60


def test_queue_lists_in_order(world: World) -> None:
    """RQ's queue holds our jobs in the order of their enqueue."""
    world.enqueue("x", "y", "z")
    queue = rq.Queue("a", connection=world.redis, serializer="json")
    assert [job.id for job in queue.jobs] == queue.job_ids == ["x", "y", "z"]
    assert rq.Queue.all(connection=world.redis, serializer="json") == [queue]


@pytest.mark.parametrize("timeout", [1, 90.0, 0.25, 1.5])
def test_timeout_of_any_kind(world: World, timeout: float) -> None:
    """A timeout in fractions of a second is whole for RQ, which reads no others, and exact for us."""
    world.enqueue(world.new("j", timeout=timeout))
    assert fetch(world, "j").timeout == -(-timeout // 1)
    assert world.read("j").timeout == timeout
    assert world.claim_one().timeout == timeout


def test_registries(world: World) -> None:
    """Each state is in the registry where RQ looks for it, and in no other."""
    world.enqueue("finished", "failed", "stopped", "canceled", "started")
    finished, failed, stopped, canceled, _ = world.claim()
    world.finish(finished)
    world.fail(failed)
    world.end(stopped, "stopped")
    world.end(canceled)
    world.enqueue(world.new("scheduled", delay_ms=60_000))
    world.redis.zadd("rq:deferred:a", {"deferred": 1})
    assert ids(FinishedJobRegistry, world) == ["finished"]
    assert set(ids(FailedJobRegistry, world)) == {"failed", "stopped"}
    assert ids(CanceledJobRegistry, world) == ["canceled"]
    assert ids(StartedJobRegistry, world) == ["started"]
    assert ids(ScheduledJobRegistry, world) == ["scheduled"]
    assert ids(DeferredJobRegistry, world) == ["deferred"]
    for state in ("finished", "failed", "stopped", "canceled", "started", "scheduled"):
        assert fetch(world, state).get_status() == state
    due = ScheduledJobRegistry("a", connection=world.redis).get_scheduled_time("scheduled")
    assert 50 < (due - datetime.now(UTC)).total_seconds() < 70


def test_finished_result(world: World) -> None:
    """RQ reads the value, the worker and the times of a finished attempt."""
    world.finish(world.started())
    job = fetch(world, "j")
    assert job.return_value() == {"ok": True}
    result = job.latest_result()
    assert result.type is Result.Type.SUCCESSFUL
    assert result.worker_name == "w1"
    assert result.execution_started_at == datetime.fromtimestamp(1.5, UTC)
    assert result.execution_ended_at == datetime.fromtimestamp(2.5, UTC)
    assert job.ended_at is not None


def test_finished_without_value(world: World) -> None:
    """A job that gave nothing back is finished for RQ, and returned None; there is no entry to read."""
    world.channel.advance([done_with(world.started(), value=b"null")], {})
    job = fetch(world, "j")
    assert (job.is_finished, job.return_value(), job.latest_result()) == (True, None, None)


def test_an_awaited_end_without_value(world: World) -> None:
    """Where somebody waits, a job that gives nothing back has a successful result of None."""
    claimed = world.started()
    world.store.run(operations.read(world.store.keys, "j", waits=True))
    world.channel.advance([done_with(claimed, value=b"null")], {})
    result = fetch(world, "j").latest_result()
    assert (result.type, result.return_value) == (Result.Type.SUCCESSFUL, None)


def test_the_last_result_is_of_the_last_attempt(world: World) -> None:
    """A job that failed first and gave nothing back then does not read as failed."""
    world.enqueue("j")
    world.fail(world.claim_one(), delay=0, error="Traceback\nOSError: first")
    world.channel.advance([done_with(world.claim_one(), value=b"null")], {})
    assert [each.type for each in fetch(world, "j").results()] == [Result.Type.SUCCESSFUL, Result.Type.RETRIED]


def test_failed_results(world: World) -> None:
    """Every attempt leaves a result that RQ reads, with its traceback, newest first."""
    world.enqueue("j")
    world.fail(world.claim_one(), delay=0, error="Traceback\nOSError: first")
    world.fail(world.claim_one(), error="Traceback\nOSError: second")
    results = fetch(world, "j").results()
    assert [result.type for result in results] == [Result.Type.FAILED, Result.Type.RETRIED]
    assert [result.exc_string for result in results] == ["Traceback\nOSError: second", "Traceback\nOSError: first"]


def test_executions(world: World) -> None:
    """Once renewed, a running job has the execution that RQ shows and stops."""
    claimed = world.started()
    world.claims.renew([claimed])
    (execution,) = fetch(world, "j").get_executions()
    assert execution.id == claimed.token
    found = Execution.fetch(claimed.token, "j", connection=world.redis)
    assert (found.worker_name, found.job_id) == ("w1", "j")
    world.finish(claimed)
    assert not fetch(world, "j").get_executions()


def test_workers(world: World) -> None:
    """rq.Worker.all lists our worker with its queues, state, counts and heartbeat."""
    presence = Presence(world.store, "w1", ["a", "b"])
    presence.birth()
    presence.beat(busy=True)
    world.finish(world.started())
    (worker,) = rq.Worker.all(connection=world.redis, serializer="json")
    assert (worker.name, worker.queue_names(), worker.get_state()) == ("w1", ["a", "b"], "busy")
    assert worker.successful_job_count == 1
    assert worker.last_heartbeat is not None
    assert rq.Worker.all(queue=rq.Queue("a", connection=world.redis)) == [worker]
    presence.death()
    assert rq.Worker.all(connection=world.redis) == []


def test_info(world: World) -> None:
    """`rq info` shows queues, counts and workers."""
    Presence(world.store, "w1", ["a"]).birth()
    world.enqueue("one", "two")
    shown = CliRunner().invoke(rq_cli, ["info", "--url", world.url, "--raw"])
    assert shown.exit_code == 0, shown.output
    assert "queue a 2" in shown.output
    assert "worker w1" in shown.output
