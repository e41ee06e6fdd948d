"""result_ttl and failure_ttl of vanilla jobs: RQ's meaning where they are named, the queue's retention elsewhere."""

import pytest
import rq
from rq.group import Group

from jobkit.store.records import QueueRules
from tests.store.world import World


def enqueue(world: World, job_id: str = "j", **options: object) -> rq.job.Job:
    """Enqueue as a plain client."""
    return rq.Queue("a", connection=world.redis, serializer="json").enqueue("f", job_id=job_id, **options)


def keys_of(world: World, job_id: str) -> set[str]:
    """Give the keys that name the job."""
    return {key for key in world.all_keys() if job_id in key.split(":")}


def test_result_ttl(world: World) -> None:
    """A finished job with a result_ttl lives that long, hash and results; retention neither counts nor removes it."""
    enqueue(world, result_ttl=77)
    world.finish(world.claim_one())
    assert 70 < world.redis.ttl("rq:job:j") <= 77
    assert 70 < world.redis.ttl("rq:results:j") <= 77
    assert 70 < world.redis.zscore("rq:finished:a", "j") - world.now_ms() / 1000 <= 77
    world.sweeps.trim("a", QueueRules(keep_done=0, keep_dead=0))
    assert world.redis.exists("rq:job:j")  # not the queue's retention's to delete


def test_result_ttl_of_nothing(world: World) -> None:
    """A result_ttl of 0 removes the job as it finishes; no key is left."""
    enqueue(world, result_ttl=0)
    world.finish(world.claim_one())
    assert keys_of(world, "j") == set()
    assert world.members("rq:finished:a") == set()


def test_result_ttl_for_ever(world: World) -> None:
    """A result_ttl of -1 keeps the job whatever the queue's retention says."""
    enqueue(world, result_ttl=-1)
    world.finish(world.claim_one())
    world.sweeps.trim("a", QueueRules(keep_done=0, keep_dead=0))
    assert world.state("j") == "finished"
    assert world.redis.ttl("rq:job:j") == -1
    assert world.members("rq:finished:a") == {"j"}


@pytest.mark.parametrize("ttl", [77, -1])
def test_failure_ttl(world: World, ttl: int) -> None:
    """A dead letter with a failure_ttl lives that long; -1 is for ever."""
    enqueue(world, failure_ttl=ttl)
    world.fail(world.claim_one())
    world.sweeps.trim("a", QueueRules(keep_done=0, keep_dead=0))
    assert world.state("j") == "failed"
    assert world.redis.ttl("rq:job:j") in ({-1} if ttl < 0 else range(70, 78))
    assert world.members("rq:failed:a") == {"j"}


def test_failure_ttl_of_nothing(world: World) -> None:
    """A failure_ttl of 0 removes the job as it fails for good; no key is left."""
    enqueue(world, failure_ttl=0)
    world.fail(world.claim_one())
    assert keys_of(world, "j") == set()
    assert world.members("rq:failed:a") == set()


def test_failure_ttl_of_a_stopped_job(world: World) -> None:
    """A stopped job has its failure_ttl, as RQ lists it with the failed ones."""
    enqueue(world, failure_ttl=77)
    world.end(world.claim_one(), "stopped")
    assert 70 < world.redis.ttl("rq:job:j") <= 77


def test_a_new_life_does_not_expire(world: World) -> None:
    """A dead letter with a failure_ttl that jobkit retries does not vanish before it runs."""
    enqueue(world, failure_ttl=77)
    world.fail(world.claim_one())
    assert world.retry("j") == "queued"
    assert world.redis.ttl("rq:job:j") == -1


def test_without_a_ttl(world: World) -> None:
    """A vanilla job that names no time to live has the queue's retention, like jobkit's own."""
    enqueue(world, "x")
    enqueue(world, "y")
    for claimed in world.claim():
        world.finish(claimed)
    assert world.redis.ttl("rq:job:x") == -1
    world.sweeps.trim("a", QueueRules(keep_done=1, keep_dead=0))
    assert (world.state("x"), world.state("y")) == ("missing", "finished")


def test_registries_forget_what_expired(world: World) -> None:
    """What expired leaves the registries at the next sweep, also what a plain worker had put there."""
    enqueue(world, "x", result_ttl=50)
    world.finish(world.claim_one())
    world.redis.zadd("rq:finished:a", {"theirs": 1.0})
    world.pass_time(60)
    world.sweeps.trim("a", QueueRules(keep_done=10, keep_dead=10))
    assert world.members("rq:finished:a") == set()


def test_a_group_forgets_what_was_deleted(world: World) -> None:
    """A job that is deleted as it ends leaves its RQ group."""
    queue = rq.Queue("a", connection=world.redis, serializer="json")
    group = Group.create(connection=world.redis, name="g")
    group.enqueue_many(queue, [rq.Queue.prepare_data("f", job_id="j", result_ttl=0)])
    world.finish(world.claim_one())
    assert world.redis.smembers("rq:group:g") == set()
