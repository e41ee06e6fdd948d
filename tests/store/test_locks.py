"""Locks: a mutex held by somebody who is no job, beside the jobs that have it."""

import json

from jobkit.store import locks
from jobkit.store.records import Claimed, NewJob
from tests.store.world import World


def take(world: World, holder: str = "t1", name: str = "sync", lease: float = 30.0) -> int:
    """Take a lock; its fencing number, or 0."""
    return world.store.run(locks.take(world.store.keys, name, holder, lease))


def keep(world: World, holder: str = "t1", name: str = "sync", lease: float = 30.0) -> bool:
    """Renew it."""
    return world.store.run(locks.keep(world.store.keys, name, holder, lease))


def give_back(world: World, holder: str = "t1", name: str = "sync") -> bool:
    """Give it back."""
    return world.store.run(locks.give_back(world.store.keys, name, holder))


def exclusive(world: World, job_id: str, name: str = "sync") -> NewJob:
    """Make a job with the mutex."""
    return world.new(job_id, flow=json.dumps({"l": f"\x1fmutex={name}", "b": 0}))


def ids(claimed: list[Claimed]) -> list[str]:
    """The ids."""
    return [each.id for each in claimed]


def test_one_holds_it_at_a_time(world: World) -> None:
    """While one holds a lock others are refused; given back, the next gets it with a greater number."""
    first = take(world)
    assert first > 0
    assert take(world, "t2") == 0
    assert take(world, "t2", "another") > first
    assert give_back(world)
    assert take(world, "t2") > first
    assert not give_back(world)
    assert take(world, "t3") == 0


def test_a_lock_keeps_jobs_out(world: World) -> None:
    """Jobs with the mutex wait while a lock holds it, others go on; given back, the bell rings and one begins."""
    take(world)
    world.enqueue(exclusive(world, "one"), exclusive(world, "two"), exclusive(world, "other", "else"))
    assert ids(world.claim()) == ["other"]
    world.redis.delete("rq:jk:bell:a")
    give_back(world)
    assert world.redis.exists("rq:jk:bell:a")
    assert ids(world.claim()) == ["one"]


def test_a_job_keeps_locks_out(world: World) -> None:
    """While a job with the mutex runs no lock is given; when it has ended one is, and the next job waits for it."""
    world.enqueue(exclusive(world, "one"), exclusive(world, "two"))
    (one,) = world.claim()
    assert take(world) == 0
    world.finish(one)
    assert take(world) > 0
    assert world.claim() == []
    give_back(world)
    assert ids(world.claim()) == ["two"]


def test_a_lock_ends_with_its_lease(world: World) -> None:
    """A lock that nobody renews is free when its lease is over; it cannot be renewed then, and the number grows."""
    first = take(world)
    world.pass_time(29)
    assert keep(world)
    world.pass_time(29)
    assert take(world, "t2") == 0
    world.pass_time(2)
    assert not keep(world)
    assert take(world, "t2") > first
    assert not give_back(world)
    assert keep(world, "t2")


def test_jobs_go_on_after_a_killed_holder(world: World) -> None:
    """A sweep frees the lock of a holder that died, and the jobs that wait begin."""
    take(world)
    world.enqueue(exclusive(world, "one"))
    assert world.claim() == []
    world.pass_time(31)
    world.sweeps.sweep()
    assert ids(world.claim()) == ["one"]


def test_a_claim_frees_a_dead_lock(world: World) -> None:
    """A job that asks for the mutex after the lease is over need not wait for a sweep."""
    take(world)
    world.pass_time(31)
    world.enqueue(exclusive(world, "one"))
    assert ids(world.claim()) == ["one"]


def test_a_repeated_call_takes_it_once(one_world: World) -> None:
    """The repetition of a call whose reply was lost holds the lock as the call did."""
    first = take(one_world)
    assert take(one_world) > first
    assert one_world.redis.zcard("rq:jk:run:mutex=sync") == 1
    assert give_back(one_world)
    assert take(one_world, "t2") > 0


def test_locks_leave_no_keys(one_world: World) -> None:
    """Whether it was given back or ran out, a lock leaves nothing but the count of the fencing numbers."""
    take(one_world)
    give_back(one_world)
    take(one_world, name="n" * 500)
    one_world.pass_time(31)
    one_world.sweeps.unblock()
    assert {key for key in one_world.all_keys() if "clock" not in key and "sweep" not in key} == {"rq:jk:fence"}
