"""What a killed worker leaves on RQ's lists of workers."""

from jobkit.store.presence import Presence
from tests.store.world import World


def test_killed_workers_leave_the_lists(world: World) -> None:
    """A worker whose registration has expired leaves RQ's lists at the next sweep; a living one stays."""
    living, killed = (Presence(world.store, name, ["a", "b"]) for name in ("w-living", "w-killed"))
    living.birth()
    killed.birth()
    world.sweeps.publish(world.rules)
    world.sweeps.sweep()
    assert len(world.redis.smembers("rq:workers")) == 2
    world.redis.delete("rq:worker:w-killed")  # as its time to live does
    world.sweeps.sweep()
    for key in ("rq:workers", "rq:workers:a", "rq:workers:b"):
        assert world.redis.smembers(key) == {b"rq:worker:w-living"}
