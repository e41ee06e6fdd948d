"""RQ's commands and its suspension, on jobs of both kinds."""

import pytest
from rq.command import send_stop_job_command
from rq.suspension import resume, suspend

from jobkit import Job, JobCancelled, Payload, processor
from tests.rq import functions
from tests.rq.conftest import Add, Side


class Turn(Payload[None], name="turn", queue="q"):
    pass


def test_stop_command(side: Side) -> None:
    """RQ's stop command ends a running job of either kind as stopped, without a retry."""

    @processor(Turn)
    def turn(job: Job[Turn]) -> None:
        functions.turn(side.redis, 30)

    side.start(processor=turn)
    for job_id in (side.enqueue("spin", 30).id, side.bench.enqueue(Turn()).id):
        assert side.told() == ["spinning"]
        send_stop_job_command(side.redis, job_id, serializer="json")
        with pytest.raises(JobCancelled):
            side.result(job_id)
        assert side.fetch(job_id).get_status() == "stopped"
        assert job_id in side.queue().failed_job_registry.get_job_ids(cleanup=False)


def test_suspend(side: Side) -> None:
    """While RQ suspends its workers no job of either kind begins; after that both run."""
    suspend(side.redis)
    worker = side.start()
    jobs = [side.enqueue("double", 4).id, side.bench.enqueue(Add(a=4, b=4)).id]
    claims = worker._claims.channel("test")
    assert claims.claim({"q": 10}, block=0).claimed == []
    claims.close()
    assert [side.fetch(job_id).get_status() for job_id in jobs] == ["queued", "queued"]
    resume(side.redis)
    assert [side.result(job_id) for job_id in jobs] == [8, 8]


def test_requeue_and_cancel(side: Side) -> None:
    """RQ's cancel and requeue work on a vanilla job that jobkit serves."""
    cancelled = side.enqueue("double", 4)
    cancelled.cancel()
    failing = side.enqueue("fail")
    side.start()
    side.bench.lines.wait_for("job failed", job_id=failing.id)
    side.fetch(failing.id).requeue()
    side.bench.lines.wait_for("job failed", times=2, job_id=failing.id)
    assert side.fetch(cancelled.id).get_status() == "canceled"
