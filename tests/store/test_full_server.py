"""A full server refuses new jobs; what runs ends, and sweeping, which frees memory, goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from jobkit.errors import StoreFull
from jobkit.store.presence import Presence
from jobkit.store.records import QueueRules
from tests.store.world import World


@contextmanager
def full(world: World) -> Iterator[None]:
    """Make the server refuse whatever may grow it."""
    world.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        world.redis.config_set("maxmemory", 0)


ENDINGS: dict[str, Callable[[World, object], object]] = {
    "finish": lambda world, claimed: not world.finish(claimed).lost,
    "retry at once": lambda world, claimed: world.fail(claimed, delay=0),
    "retry later": lambda world, claimed: world.fail(claimed, delay=5),
    "dead letter": lambda world, claimed: world.fail(claimed),
    "snooze": lambda world, claimed: world.claims.snooze(claimed, delay=5, reason="x"),
    "cancel": lambda world, claimed: world.end(claimed),
    "stop": lambda world, claimed: world.end(claimed, "stopped"),
    "put back": lambda world, claimed: not world.claims.put_back([claimed]),
    "cancel by a client": lambda world, claimed: world.cancel("j") == "canceled",
    "renew": lambda world, claimed: world.claims.renew([claimed]) == set(),
    "renew again": lambda world, claimed: world.claims.renew([claimed]) == set(),
    "step": lambda world, claimed: world.claims.save_step(claimed, "s", b"1"),
    "progress": lambda world, claimed: world.claims.progress(claimed, 50, "half"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_running_jobs_go_on(world: World, name: str) -> None:
    """A job that runs is renewed, keeps steps and progress, and ends in any way."""
    claimed = world.started()
    if name == "renew again":
        world.claims.renew([claimed])
    with full(world):
        assert ENDINGS[name](world, claimed)


def test_queued_jobs_run(world: World) -> None:
    """Jobs that had been acknowledged are claimed, retried by operators and finished; due ones are promoted."""
    world.enqueue(world.new("now"), world.new("later", delay_ms=1000), world.new("dead"))
    with full(world):
        now, dead = world.claim()
        world.fail(dead)
        world.finish(now)
        assert world.retry("dead") == "queued"
    world.pass_time(2)
    with full(world):
        assert {claimed.id for claimed in world.claim()} == {"dead", "later"}


def test_sweeps_go_on(world: World) -> None:
    """Sweeps promote, rescue and trim, so that a full server gets room again."""
    world.sweeps.publish(world.rules)
    world.enqueue(world.new("later", delay_ms=1000))
    world.finish(world.started("done"))
    world.started("abandoned")
    world.sweeps.publish({"a": QueueRules(keep_done=0, keep_dead=0)})
    world.pass_time(31)
    with full(world):
        report = world.sweeps.sweep()
    assert (report.promoted, report.rescued, report.trimmed) == (1, 1, 1)
    assert world.state("done") == "missing"


def test_workers_go_on(world: World) -> None:
    """A worker starts, registers, beats, is interrupted and leaves: a full server is drained by workers."""
    presence = Presence(world.store, "w1", ["a"])
    with full(world):
        world.sweeps.publish(world.rules)
        presence.birth()
        presence.beat(busy=True)
        world.channel.interrupt()
        assert world.channel.claim({"a": 1}, block=4).claimed == []
        presence.death()


def test_enqueue_is_refused(world: World) -> None:
    """New jobs are refused, also those of a running job, with the reason and the remedy."""
    claimed = world.started()
    with full(world):
        with pytest.raises(StoreFull, match="free memory, lower retention or raise maxmemory"):
            world.enqueue("x")
        with pytest.raises(StoreFull):
            world.claims.enqueue(claimed, [world.new("x")])
    assert world.state("x") == "missing"
    assert world.claims.enqueue(claimed, [world.new("x")]) == [True]
