"""RQ's maintenance among jobkit's jobs, and jobkit's sweep among RQ's."""

import time

import rq
from rq.intermediate_queue import IntermediateQueue
from rq.registry import StartedJobRegistry, clean_registries

from tests.store.world import World

INTERMEDIATE = "rq:queue:a:intermediate"


def queue(world: World) -> rq.Queue:
    """Give a plain client's queue."""
    return rq.Queue("a", connection=world.redis, serializer="json")


def maintain(world: World) -> None:
    """What a plain worker does for its queues every ten minutes, as if each entry had been seen long ago."""
    for job_id in world.redis.lrange(INTERMEDIATE, 0, -1):
        world.redis.set(f"{INTERMEDIATE}:first_seen:{job_id.decode()}", time.time() - 3600)
    worker = rq.SimpleWorker([queue(world)], connection=world.redis, serializer="json")
    worker.run_maintenance_tasks()
    clean_registries(queue(world))
    IntermediateQueue("rq:queue:a", world.redis).cleanup(worker, queue(world))


def test_maintenance_leaves_a_running_job(world: World) -> None:
    """A plain worker's maintenance leaves a job alone that runs here, even if its intermediate list names it."""
    claimed = world.started()
    world.redis.rpush(INTERMEDIATE, "j")
    maintain(world)
    assert world.state("j") == "started"
    assert world.finish(claimed).lost == []


def test_maintenance_does_not_fail_what_was_finished(world: World) -> None:
    """What RQ's intermediate list says of a job that jobkit runs or ran is dropped before RQ would fail it for that."""
    world.enqueue("x", "y", "z")
    first, _ = world.claim(2)
    world.finish(first)
    world.redis.rpush(INTERMEDIATE, "x", "y", "z")
    world.sweeps.promote("a")
    assert world.redis.lrange(INTERMEDIATE, 0, -1) == [b"z"]  # queued: a plain worker may have taken it just now
    maintain(world)
    assert (world.state("x"), world.state("y")) == ("finished", "started")


def test_maintenance_of_vanilla_jobs(world: World) -> None:
    """The same holds for vanilla jobs that a jobkit worker runs."""
    queue(world).enqueue("f", job_id="j")
    claimed = world.claim_one()
    maintain(world)
    assert world.state("j") == "started"
    world.finish(claimed)
    maintain(world)
    assert world.state("j") == "finished"


def test_what_a_plain_worker_abandoned_is_rqs(world: World) -> None:
    """A job that a plain worker began and abandoned is neither rescued nor claimed here; RQ's cleanup decides."""
    job = queue(world).enqueue("f", job_id="j")
    worker = rq.SimpleWorker([queue(world)], connection=world.redis, serializer="json")
    assert worker.dequeue_job_and_maintain_ttl(1) is not None
    worker.prepare_execution(job)
    worker.prepare_job_execution(job)
    world.pass_time(3600)
    world.sweeps.sweep()
    assert world.rescue() == (0, 0, 0)
    assert world.claim() == []
    assert world.state("j") == "started"
    StartedJobRegistry("a", connection=world.redis, serializer="json").cleanup(timestamp=time.time() + 10_000)
    assert world.state("j") == "failed"


def test_what_was_ours_is_rescued(world: World) -> None:
    """A vanilla job with our token is rescued like our own."""
    queue(world).enqueue("f", job_id="j")
    world.claim_one()
    world.pass_time(31)
    assert world.rescue() == (1, 0, 0)
    assert world.claim_one().id == "j"
