"""RQ's rate limits of vanilla jobs on jobkit workers."""

import pytest
import rq
from rq.rate_limit import RateLimit

from tests.rq.conftest import FUNCTIONS, Side
from tests.store.world import World


def limited(world: World, *names: str, concurrency: int = 1) -> None:
    """Enqueue jobs that share a limit, as a plain client does."""
    queue = rq.Queue("a", connection=world.redis, serializer="json")
    for name in names:
        queue.enqueue("f", job_id=name, rate_limit=RateLimit("mail", concurrency))


@pytest.mark.parametrize("end", ["finish", "fail", "end"])
def test_a_slot_is_given_on(world: World, end: str) -> None:
    """However a job with a rate limit ends, the next sweep lets the one that waits for its slot in."""
    limited(world, "first", "second", "third")
    (first,) = world.claim()
    world.sweeps.sweep()
    assert (world.waiting(), world.state("second")) == ([], "rate_limited")
    getattr(world, end)(first)
    world.sweeps.sweep()
    assert [claimed.id for claimed in world.claim()] == ["second"]
    assert world.state("third") == "rate_limited"


def test_a_rescued_job_keeps_its_slot(world: World) -> None:
    """A job whose worker died keeps its slot until it has run."""
    limited(world, "first", "second")
    world.claim_one()
    world.pass_time(31)
    assert world.rescue() == (1, 0, 0)
    world.sweeps.sweep()
    assert world.waiting() == ["first"]


def test_all_run(side: Side) -> None:
    """Jobs that share a slot all run, one after the other, without any plain worker."""
    jobs = [side.enqueue("double", n, rate_limit=RateLimit("mail", 2)) for n in range(6)]
    side.start(lease=1.0)
    assert [side.result(job.id) for job in jobs] == [2 * n for n in range(6)]
    assert jobs[0].func_name == f"{FUNCTIONS}.double"
