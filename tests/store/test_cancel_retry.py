"""cancel and retry: what an operator says to a job in each of its states."""

import json

import pytest

from jobkit.store.records import QueueRules
from tests.store.world import World

STATES = ["queued", "scheduled", "started", "snoozed", "retrying", "finished", "failed", "stopped", "canceled"]


def bring_to(world: World, state: str) -> None:
    """Bring job j to a state."""
    if state == "queued":
        world.enqueue("j")
    elif state == "scheduled":
        world.enqueue(world.new("j", delay_ms=5000))
    else:
        claimed = world.started()
        if state == "snoozed":
            world.claims.snooze(claimed, delay=5, reason="x")
        elif state == "retrying":
            world.fail(claimed, delay=5)
        elif state == "finished":
            world.finish(claimed)
        elif state == "failed":
            world.fail(claimed)
        elif state in {"stopped", "canceled"}:
            world.end(claimed, state)


def places(world: World) -> set[str]:
    """Where job j is: every list and registry, and the ranks of retention."""
    found = {"queue"} if "j" in world.waiting() else set()
    for key in world.all_keys():
        if world.redis.type(key) == b"zset" and any(m == "j" or m.startswith("j:") for m in world.members(key)):
            found.add(key.removeprefix("rq:").removesuffix(":a"))
    return found


@pytest.mark.parametrize("state", STATES)
def test_cancel(world: World, state: str) -> None:
    """What has not ended is canceled, wherever it is, with a reason and a result; what has ended stays as it was."""
    bring_to(world, state)
    before = places(world), world.hash("j"), world.kinds("j")
    reply = world.cancel("j")
    if state in {"finished", "failed", "stopped", "canceled"}:
        assert reply == "ended"
        assert (places(world), world.hash("j"), world.kinds("j")) == before
    else:
        assert reply == "canceled"
        assert places(world) == {"canceled", "jk:gone"}
        assert (world.state("j"), world.read("j").reason) == ("canceled", "not wanted")
        assert world.kinds("j") == [*before[2], 3]
    world.pass_time(10)
    assert world.claim() == []


def test_cancel_of_a_deferred_job(world: World) -> None:
    """A deferred job is canceled too."""
    world.enqueue("j")
    world.redis.lrem("rq:queue:a", 0, "j")
    world.redis.hset("rq:job:j", "status", "deferred")
    world.redis.zadd("rq:deferred:a", {"j": 1})
    assert world.cancel("j") == "canceled"
    assert places(world) == {"canceled", "jk:gone"}


def test_cancel_of_nothing(world: World) -> None:
    """A job that is not there is missing, and nothing is written."""
    assert world.cancel("j") == "missing"
    assert world.retry("j") == "missing"
    assert world.all_keys() == set()


def test_cancel_tells_the_worker(world: World) -> None:
    """The worker of a running job hears RQ's stop command; all of its claim is given up."""
    claimed = world.started()
    world.claims.renew([claimed])
    with world.redis.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe("rq:pubsub:w1")
        channel.get_message(timeout=1)
        assert world.cancel("j") == "canceled"
        message = channel.get_message(timeout=4)
    assert message
    assert json.loads(message["data"]) == {"command": "stop-job", "job_id": "j"}
    assert not world.redis.exists(f"rq:execution:j:{claimed.token}", "rq:executions:j", "rq:worker:w1:executions")
    assert world.claims.renew([claimed]) == {claimed.token}
    assert not world.fail(claimed, delay=0)
    assert world.state("j") == "canceled"


def test_cancel_in_a_long_list(world: World) -> None:
    """In a list too long to search the id stays as a hint, which the claim drops."""
    world.enqueue("j")
    world.redis.rpush("rq:queue:a", *(f"ghost{i}" for i in range(10_001)))
    assert world.cancel("j") == "canceled"
    assert world.waiting()[0] == "j"
    assert "j" not in {claimed.id for claimed in world.claim()}


def test_canceled_jobs_have_retention(world: World) -> None:
    """Canceled jobs are kept by count, like dead letters."""
    world.enqueue("x", "y", "z")
    for job_id in "xyz":
        world.cancel(job_id, keep=2)
        world.pass_time(1)
    assert world.members("rq:canceled:a") == world.members("rq:jk:gone:a") == {"y", "z"}
    assert world.state("x") == "missing"
    assert not world.redis.exists("rq:results:x")


@pytest.mark.parametrize("state", STATES)
def test_retry(world: World, state: str) -> None:
    """What ended without success or waits for later is queued now, in one place; the rest says what it is."""
    bring_to(world, state)
    results = world.kinds("j")
    reply = world.retry("j")
    if state in {"started", "finished"}:
        assert reply == state
        return
    assert reply == ("waiting" if state == "queued" else "queued")
    assert places(world) == {"queue"}
    assert world.kinds("j") == results
    assert world.redis.exists("rq:jk:bell:a")
    claimed = world.claim_one()
    assert (claimed.failed, claimed.rescues) == (1 if state == "retrying" else 0, 0)
    world.finish(claimed)
    assert places(world) == {"finished"}


def test_retry_is_a_new_life(world: World) -> None:
    """A retried dead letter has no error, reason, end or progress of its old life, and keeps its steps."""
    claimed = world.started()
    world.claims.save_step(claimed, "ocr", b"1")
    world.claims.progress(claimed, 50, "half")
    world.fail(claimed)
    assert world.retry("j") == "queued"
    job = world.read("j")
    assert (job.failed, job.error, job.reason, job.ended_at, job.progress) == (0, None, None, None, None)
    assert world.claims.load_steps(world.claim_one()) == {"ocr": b"1"}


def test_retry_of_poison(world: World) -> None:
    """A job that was poison has its budget of interruptions again."""
    world.enqueue("j")
    for _ in range(4):
        world.claims.try_out(world.claim_one())
        world.pass_time(31)
        world.rescue()
    assert world.state("j") == "failed"
    world.retry("j")
    assert world.claim_one().rescues == 0


def test_retry_ends_the_attempt_before(world: World) -> None:
    """A running job that RQ's tools canceled and jobkit retries at once belongs to its new life only."""
    stale = world.started()
    world.claims.renew([stale])
    world.redis.hset("rq:job:j", "status", "canceled")
    assert world.retry("j") == "queued"
    owner = world.claim_one()
    assert world.finish(stale).lost == [stale.token]
    assert world.state("j") == "started"
    assert world.finish(owner).lost == []


def test_retry_survives_retention(world: World) -> None:
    """A retried job is not deleted by the retention of the dead letters that it has left."""
    world.fail(world.started())
    world.retry("j")
    world.sweeps.trim("a", QueueRules(keep_done=0, keep_dead=0))
    assert world.state("j") == "queued"
