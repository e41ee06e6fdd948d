"""Parking a limit because a service said that it was asked too much."""

import json

import pytest

from jobkit.flow import SEPARATOR, rules
from jobkit.limits import RateLimit
from jobkit.queues import QueueSpec
from jobkit.store.peeking import Peeking
from jobkit.store.records import NewJob
from tests.store.world import World

KEYED = rules(QueueSpec("a", rate_limit=[RateLimit(100, per=10, key="tenant")]), 0)


def of_tenant(world: World, job_id: str, tenant: str) -> NewJob:
    """Make a job in the lane of a tenant."""
    return world.new(job_id, flow=json.dumps({"l": SEPARATOR.join(["", f"rate/tenant={tenant}"]), "b": 0}))


def limited(world: World, job_id: str, delay: float) -> None:
    """Claim the one job that there is, which must be this, and have it say that it was asked too much."""
    claimed = world.claim_one()
    assert claimed.id == job_id
    assert world.claims.snooze(claimed, delay=delay, reason="429", limited=True)


def test_a_plain_queue_is_parked(world: World) -> None:
    """Until the time is over nothing of the queue begins; then the job that was refused is first, no attempt used."""
    world.enqueue("first", "second")
    limited(world, "first", 30)
    assert world.state("first") == "queued"
    assert world.read("first").reason == "429"
    batch = world.channel.claim({"a": 5}, block=0.0)
    assert batch.claimed == []
    assert batch.wait == pytest.approx(30, abs=1)
    world.pass_time(31)
    again = world.claim()
    assert [each.id for each in again] == ["first", "second"]
    assert again[0].failed == 0


def test_a_job_that_comes_meanwhile_waits_as_well(world: World) -> None:
    """What is enqueued or pushed into a parked queue waits with the others, for every worker."""
    world.enqueue("first")
    limited(world, "first", 30)
    world.enqueue("late")
    assert world.other_claims.channel("x").claim({"a": 5}, block=0.0).claimed == []
    world.enqueue(world.new("elsewhere", "b"))
    assert [each.id for each in world.claim(queue="b")] == ["elsewhere"]


def test_a_key_is_parked_and_others_go_on(world: World) -> None:
    """Where the queue limits by key, that key alone is parked, and its jobs keep their order."""
    world.sweeps.enforce({"a": KEYED}, 0)
    world.enqueue(of_tenant(world, "one", "t_1"))
    claimed = world.claim_one()
    world.enqueue(of_tenant(world, "two", "t_1"), of_tenant(world, "other", "t_2"))
    assert world.claims.snooze(claimed, delay=30, reason="429", limited=True)
    assert world.hash("one")["status"] == "deferred"
    assert [each.id for each in world.claim()] == ["other"]
    batch = world.channel.claim({"a": 5}, block=0.0)
    assert batch.claimed == []
    assert batch.wait == pytest.approx(30, abs=1)
    world.pass_time(31)
    assert [each.id for each in world.claim()] == ["one", "two"]


def test_a_limit_that_is_not_in_force_is_not_parked(world: World) -> None:
    """Where the queue has no limit by key any more, the queue is parked: the job must not come back at once."""
    world.enqueue(of_tenant(world, "one", "t_1"), of_tenant(world, "other", "t_2"))
    limited(world, "one", 30)
    assert world.claim() == []
    world.pass_time(31)
    assert {each.id for each in world.claim()} == {"one", "other"}


def test_parkings_extend_and_never_shorten(world: World) -> None:
    """Of several parkings of one limit the one that ends last counts."""
    world.enqueue("first", "second", "third")
    first, second, third = world.claim()
    for claimed, delay in ((first, 30), (second, 60), (third, 5)):
        assert world.claims.snooze(claimed, delay=delay, reason="429", limited=True)
    world.pass_time(31)
    assert world.claim() == []
    world.pass_time(30)
    assert len(world.claim()) == 3


def test_a_parking_goes_by_itself(one_world: World) -> None:
    """The key that parks a queue expires with it; parking for no time writes none."""
    one_world.enqueue("first", "second")
    first, second = one_world.claim()
    one_world.claims.snooze(first, delay=0, reason="429", limited=True)
    assert not one_world.redis.exists("rq:jk:until:a")
    one_world.claims.snooze(second, delay=30, reason="429", limited=True)
    assert 29_000 < one_world.redis.pttl("rq:jk:until:a") <= 30_000


def test_a_repeated_call_parks_once(one_world: World) -> None:
    """The repetition of a call whose reply was lost is answered as the call was, and parks nothing anew."""
    claimed = one_world.started("first")
    assert one_world.claims.snooze(claimed, delay=5, reason="429", limited=True)
    assert one_world.claims.snooze(claimed, delay=500, reason="429", limited=True)
    one_world.pass_time(6)
    assert one_world.claim_one().id == "first"


def test_a_stale_attempt_parks_nothing(one_world: World) -> None:
    """Whoever has lost the job cannot park its queue."""
    claimed = one_world.started("first")
    one_world.pass_time(31)
    one_world.rescue()
    assert not one_world.claims.snooze(claimed, delay=500, reason="429", limited=True)
    assert one_world.claim_one().id == "first"


def test_nobody_rings_for_a_parked_queue(one_world: World) -> None:
    """The look for jobs of plain clients leaves a parked queue alone: a bell would wake workers for nothing."""
    one_world.sweeps.publish(one_world.rules)
    one_world.enqueue("first")
    limited(one_world, "first", 30)
    one_world.redis.delete("rq:jk:bell:a")
    Peeking(one_world.store, "w1").peek()
    assert not one_world.redis.exists("rq:jk:bell:a")
