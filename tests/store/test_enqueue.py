"""enqueue: idempotent by id, whole or not at all, and nothing but the job's own keys."""

import asyncio

import pytest

from jobkit.errors import LostClaim, StoreFull
from jobkit.store import operations
from tests.store.world import World


def test_reply_says_what_was_created(world: World) -> None:
    """Each job answers whether it was created; one that exists, or comes twice, is left as it is."""
    assert world.enqueue("x", "y", "x") == [True, True, False]
    before = world.hash("x")
    assert world.enqueue(world.new("x", queue="b"), world.new("z", queue="b")) == [False, True]
    assert world.hash("x") == before
    assert (world.waiting("a"), world.waiting("b")) == (["x", "y"], ["z"])


def test_ended_job_is_not_enqueued_again(world: World) -> None:
    """Repeating an enqueue after its job has ended does not run it again."""
    world.finish(world.started())
    assert world.enqueue("j") == [False]
    assert world.waiting() == []


def test_keys(world: World) -> None:
    """An enqueue writes the job, its place, the queue's name, a bell and the clock, and nothing else."""
    world.enqueue(world.new("now"), world.new("later", queue="b", delay_ms=5000))
    assert world.all_keys() == {
        "rq:job:now",
        "rq:queue:a",
        "rq:jk:bell:a",
        "rq:job:later",
        "rq:scheduled:b",
        "rq:jk:bell:b",
        "rq:queues",
        "rq:jk:clock",
    }
    assert world.redis.smembers("rq:queues") == {b"rq:queue:a", b"rq:queue:b"}


def test_delays(world: World) -> None:
    """A delay counts from the server's clock, a due time is absolute, and one that has passed means now."""
    now = world.now_ms()
    world.enqueue(
        world.new("delayed", delay_ms=5000), world.new("due", due_ms=now + 9000), world.new("past", due_ms=now - 9000)
    )
    assert world.waiting() == ["past"]
    scores = dict(world.redis.zrange("rq:scheduled:a", 0, -1, withscores=True))
    assert 4.9 < scores[b"delayed"] - now / 1000 < 6
    assert scores[b"due"] == (now + 9000) / 1000


def test_bell_holds_one_token(world: World) -> None:
    """However much is enqueued, the bell says "look" once."""
    for i in range(5):
        world.enqueue(f"j{i}")
    assert world.redis.llen("rq:jk:bell:a") == 1


def test_five_hundred(world: World) -> None:
    """Five hundred jobs go in one call, in order; more or none are refused before anything is sent."""
    assert world.enqueue(*(f"j{i}" for i in range(500))) == [True] * 500
    assert world.waiting() == [f"j{i}" for i in range(500)]
    for count in (0, 501):
        with pytest.raises(ValueError, match="expected 1 to 500"):
            world.enqueue(*(f"k{i}" for i in range(count)))


def test_many_queues(world: World) -> None:
    """One call may spread over any number of queues."""
    world.enqueue(*(world.new(f"j{i}", queue=f"q{i}") for i in range(100)))
    assert world.redis.scard("rq:queues") == 100
    assert world.waiting("q99") == ["j99"]


def test_full_server(world: World) -> None:
    """A full server refuses an enqueue whole, naming the reason; an enqueue that is repeated is still answered."""
    world.enqueue("before")
    before = world.all_keys()
    world.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFull, match="maxmemory"):
            world.enqueue(*(f"j{i}" for i in range(10)))
        assert world.enqueue("before") == [False]
    finally:
        world.redis.config_set("maxmemory", 0)
    assert world.all_keys() == before


def test_fence(world: World) -> None:
    """A running job enqueues while it owns its claim, and not a moment longer."""
    claimed = world.started()
    assert world.claims.enqueue(claimed, [world.new("child", queue="b")]) == [True]
    world.cancel("j")
    with pytest.raises(LostClaim, match="j lost its claim"):
        world.claims.enqueue(claimed, [world.new("late", queue="b")])
    assert world.state("late") == "missing"


def test_async_twin(world: World) -> None:
    """The same operation runs on an event loop."""

    async def both() -> list[bool]:
        made = await world.store.arun(operations.enqueue(world.store.keys, [world.new("j")]))
        await world.store.aclose()
        return made

    assert asyncio.run(both()) == [True]
    assert world.waiting() == ["j"]
