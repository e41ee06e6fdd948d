"""Follow-ups: one step with the finish, none lost, however many."""

from jobkit.store.records import NewJob
from tests.store.world import World


def many(world: World, count: int, **options: object) -> tuple[NewJob, ...]:
    """Make follow-ups for queue b."""
    return tuple(world.new(f"f{i}", queue="b", **options) for i in range(count))


def test_written_with_the_finish(world: World) -> None:
    """Follow-ups are queued by the call that finishes their parent."""
    world.finish(world.started(), follow_ups=many(world, 3))
    assert world.waiting("b") == ["f0", "f1", "f2"]
    assert world.redis.exists("rq:jk:bell:b")


def test_not_by_a_stale_attempt(world: World) -> None:
    """An attempt that lost its claim enqueues nothing."""
    claimed = world.started()
    world.cancel("j")
    assert world.finish(claimed, follow_ups=many(world, 3)).lost
    assert world.waiting("b") == []


def test_once_for_a_repeated_finish(world: World) -> None:
    """A finish that is repeated does not enqueue again, even what has ended and been deleted since."""
    claimed = world.started()
    world.finish(claimed, follow_ups=many(world, 3))
    world.redis.delete("rq:queue:b", "rq:job:f0", "rq:job:f1", "rq:job:f2")
    world.finish(claimed, follow_ups=many(world, 3))
    assert world.waiting("b") == []


def test_claimed_at_once(world: World) -> None:
    """A follow-up to a queue that the same call claims from is claimed by it."""
    batch = world.finish(world.started(), follow_ups=(world.new("next"),), want=1)
    assert [claimed.id for claimed in batch.claimed] == ["next"]


def test_to_a_queue_that_the_worker_does_not_serve(world: World) -> None:
    """A follow-up may go to any queue, and RQ knows that queue from then on."""
    world.finish(world.started(), follow_ups=(world.new("f", queue="elsewhere"),))
    assert world.waiting("elsewhere") == ["f"]
    assert b"rq:queue:elsewhere" in world.redis.smembers("rq:queues")


def test_delayed(world: World) -> None:
    """A delayed follow-up is scheduled."""
    world.finish(world.started(), follow_ups=many(world, 1, delay_ms=5000))
    assert world.members("rq:scheduled:b") == {"f0"}


def test_more_than_one_script_may_write(world: World) -> None:
    """Of 450 follow-ups 200 are written with the finish and the others by later promotions; none is lost."""
    world.finish(world.started(), follow_ups=many(world, 450))
    assert len(world.waiting("b")) == 200
    assert world.redis.exists("rq:jk:bell:b")
    assert [world.sweeps.promote("b") for _ in range(3)] == [200, 50, 0]
    assert world.waiting("b") == [f"f{i}" for i in range(450)]
    assert not world.redis.exists("rq:jk:follow:b")


def test_the_remainder_is_claimed(world: World) -> None:
    """Claims alone, without any sweep, get through the remainder, each job once."""
    world.finish(world.started(), follow_ups=many(world, 450))
    got: list[str] = []
    while True:
        assert not world.redis.exists("rq:jk:follow:b") or world.redis.exists("rq:jk:bell:b")
        claimed = world.claim(77, "b")
        if not claimed:
            break
        got += [claim.id for claim in claimed]
    assert sorted(got) == sorted(f"f{i}" for i in range(450))


def test_the_remainder_keeps_its_due_times(world: World) -> None:
    """A delay counts from the finish, also for a follow-up that was written later."""
    start = world.now_ms()
    world.finish(world.started(), follow_ups=many(world, 250, delay_ms=60_000))
    world.pass_time(50)
    world.sweeps.promote("b")
    scores = [score for _, score in world.redis.zrange("rq:scheduled:b", 0, -1, withscores=True)]
    assert len(scores) == 250
    assert max(scores) - (start + 60_000) / 1000 < 5


def test_the_bound_is_the_batch_s(world: World) -> None:
    """The bound holds for all parents of a call together, and what is kept has its timeout and payload."""
    world.enqueue("p1", "p2")
    first, second = world.claim()
    follow_ups = tuple(world.new(f"f{i}", queue="b", timeout=1.5) for i in range(250))
    world.finish(second, first, follow_ups=follow_ups)
    assert len(world.waiting("b")) == 200
    world.sweeps.promote("b")
    kept = world.read("f249")
    assert (kept.timeout, kept.state, kept.name) == (1.5, "queued", "acme.work")


def test_existing_id(world: World) -> None:
    """A follow-up whose id exists is left out, at once or later."""
    world.enqueue(world.new("f0", queue="b"), world.new("f249", queue="b"))
    world.finish(world.started(), follow_ups=many(world, 250))
    world.sweeps.promote("b")
    assert sorted(world.waiting("b")) == sorted(f"f{i}" for i in range(250))


def test_full_server(world: World) -> None:
    """A running job finishes with its follow-ups on a full server: they were promised with the finish."""
    claimed = world.started()
    world.redis.config_set("maxmemory", 1)
    try:
        assert world.finish(claimed, follow_ups=many(world, 250)).lost == []
        assert world.sweeps.promote("b") == 50
    finally:
        world.redis.config_set("maxmemory", 0)
    assert len(world.waiting("b")) == 250
