"""RQ's depends_on: dependents of vanilla and jobkit jobs that jobkit ends."""

from typing import Any

import pytest
import rq
from rq.job import Dependency

from jobkit.store.records import QueueRules
from tests.store.world import World, done_with


def queue(world: World, name: str = "a") -> rq.Queue:
    """Give a plain client's queue."""
    return rq.Queue(name, connection=world.redis, serializer="json")


def child(world: World, job_id: str, depends_on: Any, name: str = "a") -> None:
    """Enqueue a dependent as a plain client does."""
    queue(world, name).enqueue("f", job_id=job_id, depends_on=depends_on)


def deferred(world: World, name: str = "a") -> set[str]:
    """Give what waits for a parent."""
    return world.members(f"rq:deferred:{name}")


def leftovers(world: World) -> set[str]:
    """Give the keys of dependencies that are there."""
    return {key for key in world.all_keys() if key.endswith((":dependents", ":dependencies", ":release"))}


@pytest.mark.parametrize("jobkits", [False, True])
def test_a_finish_releases(world: World, *, jobkits: bool) -> None:
    """A dependent is queued in the same step as its parent's finish, whichever kind the parent is."""
    if jobkits:
        world.enqueue("parent")
    else:
        queue(world).enqueue("f", job_id="parent")
    child(world, "child", "parent")
    assert deferred(world) == {"child"}
    batch = world.channel.advance([done_with(world.claim_one())], {"a": 1})
    assert [claimed.id for claimed in batch.claimed] == ["child"]
    assert deferred(world) == set()
    assert leftovers(world) == set()


def test_another_queue_is_rung(world: World) -> None:
    """A dependent in another queue is pushed there, and that queue's bell is rung."""
    world.enqueue("parent")
    child(world, "child", "parent", "b")
    world.finish(world.claim_one())
    assert world.waiting("b") == ["child"]
    assert world.redis.llen("rq:jk:bell:b") == 1
    assert b"rq:queue:b" in world.redis.smembers("rq:queues")


def test_all_parents_count(world: World) -> None:
    """A dependent of several parents waits for all, in any order, and leaves no key behind."""
    world.enqueue("x", "y", "z")
    child(world, "child", ["x", "y", "z"])
    for claimed in reversed(world.claim()):
        assert world.waiting() == []
        world.finish(claimed)
    assert world.waiting() == ["child"]
    assert leftovers(world) == set()


def test_a_parent_that_a_plain_worker_finished_counts(world: World) -> None:
    """A parent that another kind of worker finished is met; so is one that is gone."""
    world.enqueue("x", "y", "z")
    child(world, "child", ["x", "y", "z"])
    claimed = world.claim()[0]
    world.redis.hset("rq:job:y", "status", "finished")
    world.redis.delete("rq:job:z")
    world.finish(claimed)
    assert world.waiting() == ["child"]


def test_a_failure_holds(world: World) -> None:
    """A dead letter does not release its dependent; its retry, when it finishes, does."""
    world.enqueue("parent")
    child(world, "child", "parent")
    world.fail(world.claim_one())
    assert (world.waiting(), deferred(world)) == ([], {"child"})
    world.retry("parent")
    world.finish(world.claim_one())
    assert world.waiting() == ["child"]


def test_a_failed_attempt_is_no_end(world: World) -> None:
    """A failed attempt that another follows releases nobody, also not those who allow failure."""
    world.enqueue("parent")
    child(world, "child", Dependency(["parent"], allow_failure=True))
    world.fail(world.claim_one(), delay=60)
    assert deferred(world) == {"child"}


def test_allow_failure(world: World) -> None:
    """A dependent that allows failure is queued in the same step as its parent's last failure."""
    world.enqueue("parent")
    child(world, "tolerant", Dependency(["parent"], allow_failure=True))
    child(world, "strict", "parent")
    world.fail(world.claim_one())
    assert (world.waiting(), deferred(world)) == (["tolerant"], {"strict"})


def test_poison_is_a_failure(world: World) -> None:
    """A parent that takes its workers down releases those who allow failure, when it is given up."""
    world.enqueue("parent")
    child(world, "tolerant", Dependency(["parent"], allow_failure=True))
    for _ in range(8):
        if deferred(world) == set():
            break
        (claimed,) = world.claim(1)
        assert claimed.id == "parent"
        world.redis.hset("rq:job:parent", "jk_tried", claimed.token)
        world.pass_time(31)
        world.rescue()
    assert world.state("parent") == "failed"
    assert world.waiting() == ["tolerant"]


@pytest.mark.parametrize("state", ["canceled", "stopped"])
def test_a_canceled_parent_holds(world: World, state: str) -> None:
    """As in RQ, a canceled or stopped parent releases nobody."""
    world.enqueue("parent")
    child(world, "child", Dependency(["parent"], allow_failure=True))
    world.end(world.claim_one(), state)
    assert (world.waiting(), deferred(world)) == ([], {"child"})


def test_a_canceled_dependent_stays_canceled(world: World) -> None:
    """A dependent that was canceled is not queued, by whichever tool."""
    world.enqueue("parent")
    child(world, "ours", "parent")
    child(world, "theirs", "parent")
    world.cancel("ours")
    rq.job.Job.fetch("theirs", connection=world.redis, serializer="json").cancel()
    world.finish(world.claim_one())
    assert world.waiting() == []
    assert (world.state("ours"), world.state("theirs")) == ("canceled", "canceled")


def test_in_front(world: World) -> None:
    """A dependent goes to the front where its client asked for that."""
    world.enqueue("parent")
    claimed = world.claim_one()
    world.enqueue("other")
    child(world, "child", Dependency(["parent"], enqueue_at_front=True))
    world.finish(claimed)
    assert world.waiting() == ["child", "other"]


def test_many(world: World) -> None:
    """Of many dependents a finish releases a bounded part, and sweeps the others; none is forgotten or doubled."""
    world.enqueue("parent")
    for n in range(700):
        child(world, f"c{n}", "parent")
    world.finish(world.claim_one())
    first = len(world.waiting())
    assert 0 < first <= 400
    for _ in range(10):
        world.sweeps.promote("b")  # any queue's sweep goes on with it
    assert sorted(world.waiting()) == sorted(f"c{n}" for n in range(700))
    assert leftovers(world) == set()


def test_a_repetition_releases_once(world: World) -> None:
    """A finish that is told twice, because its reply was lost, queues its dependents once."""
    world.enqueue("parent")
    child(world, "child", "parent")
    claimed = world.claim_one()
    world.finish(claimed)
    world.other_claims.channel("c").advance([done_with(claimed)], {})
    assert world.waiting() == ["child"]


def test_a_deleted_parent_released_before(world: World) -> None:
    """A parent whose result_ttl of 0 removes it releases its dependents all the same."""
    queue(world).enqueue("f", job_id="parent", result_ttl=0)
    child(world, "child", "parent")
    world.finish(world.claim_one())
    assert (world.state("parent"), world.waiting()) == ("missing", ["child"])


def test_what_a_dead_plain_worker_had_found_ready(world: World) -> None:
    """Dependents that RQ had marked ready when its worker died are queued by a sweep."""
    parent = queue(world).enqueue("f", job_id="parent")
    child(world, "child", "parent")
    world.redis.lpop("rq:queue:a")
    parent.set_status("finished")
    queue(world).move_dependents_to_ready(parent)
    assert world.state("child") == "ready_to_enqueue"
    world.sweeps.promote("a")
    assert (world.state("child"), world.waiting()) == ("queued", ["child"])
    queue(world).ready_job_registry.cleanup()
    assert world.waiting() == ["child"]


def test_an_awaited_parent_stays(world: World) -> None:
    """Retention keeps a dead letter while a dependent waits for it, and removes it with its sets afterwards."""
    world.enqueue("parent")
    child(world, "child", "parent")
    world.fail(world.claim_one())
    none = QueueRules(keep_done=0, keep_dead=0)
    world.sweeps.trim("a", none)
    assert world.state("parent") == "failed"
    world.cancel("child")
    world.sweeps.trim("a", none)
    world.sweeps.trim("a", none)
    assert world.state("parent") == "missing"
    assert leftovers(world) == set()


@pytest.mark.parametrize("key", ["rq:job:parent:dependents", "rq:job::child:dependencies"])
def test_a_key_of_another_kind(world: World, key: str) -> None:
    """A key that holds something else does not keep the parent from ending."""
    world.enqueue("parent")
    child(world, "child", "parent")
    world.redis.set(key, "something else")
    world.finish(world.claim_one())
    assert world.state("parent") == "finished"


def test_a_plain_worker_releases_too(world: World) -> None:
    """A parent of jobkit's that a plain worker finishes releases its dependents, and jobkit claims them."""
    world.enqueue("parent")
    child(world, "child", "parent")
    world.redis.lpop("rq:queue:a")
    parent = rq.job.Job.fetch("parent", connection=world.redis, serializer="json")
    parent.set_status("finished")
    queue(world).enqueue_dependents(parent)
    assert world.claim_one().id == "child"
