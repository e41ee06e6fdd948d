"""What a plain RQ client enqueues, jobkit reads, claims and ends."""

from datetime import timedelta

import rq
from rq.job import Job, Retry

from jobkit.store.codec import VanillaCall, unpack_data
from tests.store.world import World


def queue(world: World) -> rq.Queue:
    """A plain client's queue."""
    return rq.Queue("a", connection=world.redis, serializer="json")


def test_enqueue(world: World) -> None:
    """A vanilla job is claimed with its function, arguments and timeout, and is not ours in its extra field."""
    job = queue(world).enqueue("acme.add", 1, b=2, job_timeout=33)
    claimed = world.claim_one()
    assert claimed.id == job.id
    assert unpack_data(claimed.data) == VanillaCall("acme.add", [1], {"b": 2})
    assert (claimed.timeout, claimed.extra, claimed.failed, claimed.epoch) == (33.0, b"", 0, 1)
    world.finish(claimed)
    assert Job.fetch(job.id, connection=world.redis, serializer="json").return_value() == {"ok": True}


def test_order_and_front(world: World) -> None:
    """Jobs that RQ puts to the front come first."""
    for job_id, front in (("x", False), ("y", False), ("z", True)):
        queue(world).enqueue("acme.add", job_id=job_id, at_front=front)
    assert [claimed.id for claimed in world.claim()] == ["z", "x", "y"]


def test_enqueue_in(world: World) -> None:
    """A vanilla scheduled job is claimed when it falls due, and the claim before says how long that takes."""
    queue(world).enqueue_in(timedelta(seconds=60), "acme.add", job_id="j")
    batch = world.channel.claim({"a": 1}, block=0)
    assert batch.claimed == []
    assert batch.wait is not None
    assert 55 < batch.wait <= 60
    world.pass_time(61)
    assert world.claim_one().id == "j"


def test_retries_left(world: World) -> None:
    """A vanilla job's own retries come with the claim."""
    queue(world).enqueue("acme.add", retry=Retry(max=4))
    terms = world.claim_one().terms
    assert terms is not None
    assert terms.retries_left == 4


def test_time_to_live_ends_with_the_claim(world: World) -> None:
    """A vanilla job's time to live does not take its record away while it runs."""
    job = queue(world).enqueue("acme.add", ttl=5)
    assert world.redis.ttl(job.key) > 0
    world.claim_one()
    assert world.redis.ttl(job.key) == -1


def test_time_to_live_set_by_a_vanilla_worker(world: World) -> None:
    """Our job that a vanilla worker ended, with a time to live, and somebody enqueues again, stays while it runs."""
    world.enqueue("j")
    job = Job.fetch("j", connection=world.redis, serializer="json")
    world.redis.lpop("rq:queue:a")
    job.prepare_for_execution("vanilla", pipeline=world.redis)
    job.cleanup(ttl=5)
    queue(world).enqueue_job(job)
    assert world.redis.ttl(job.key) > 0
    assert world.claim_one().id == "j"
    assert world.redis.ttl(job.key) == -1


def test_expired_before_its_claim(world: World) -> None:
    """A vanilla job whose time to live ran out is dropped."""
    job = queue(world).enqueue("acme.add", ttl=5)
    world.redis.delete(job.key)
    assert world.claim() == []
    assert world.waiting() == []


def test_bulk(world: World) -> None:
    """Vanilla jobs enqueued in bulk are all claimed once."""
    many = [rq.Queue.prepare_data("acme.add", job_id=f"v{i}") for i in range(30)]
    queue(world).enqueue_many(many)
    assert sorted(claimed.id for claimed in world.claim()) == sorted(f"v{i}" for i in range(30))


def test_deferred_waits(world: World) -> None:
    """A vanilla job that depends on another is not claimed before RQ says so."""
    parent = queue(world).enqueue("acme.add", job_id="parent")
    queue(world).enqueue("acme.add", job_id="child", depends_on=parent)
    assert [claimed.id for claimed in world.claim()] == ["parent"]
    assert world.inspection.counts(["a"])[0].deferred == 1
