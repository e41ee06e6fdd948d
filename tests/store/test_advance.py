"""advance: a finish is fenced, counted once, and claims in the same call."""

import threading

import pytest
from rq.job import Job

from jobkit.store.operations import attempts
from jobkit.store.presence import Presence
from jobkit.store.records import Finished, QueueRules
from tests.store.world import World, done_with


def test_finish_and_claim_in_one_call(world: World) -> None:
    """Finished jobs leave their claims, and as many new ones come back."""
    world.enqueue("x", "y", "z")
    first = world.claim(2)
    batch = world.finish(*first, want=2)
    assert [claimed.id for claimed in batch.claimed] == ["z"]
    assert batch.lost == []
    assert world.state("x") == world.state("y") == "finished"
    assert world.members("rq:finished:a") == {"x", "y"}
    assert world.members("rq:wip:a") == world.members("rq:jk:lease:a") == {f"z:{batch.claimed[0].token}"}
    hash_ = world.hash("x")
    assert hash_.keys().isdisjoint({"jk_exec", "jk_parked", "jk_reason"})
    assert world.redis.ttl("rq:job:x") == -1


def test_no_key_is_left(world: World) -> None:
    """A job that went through everything leaves its record, its result and the queue's own keys."""
    world.enqueue("j")
    claimed = world.claim_one()
    world.claims.renew([claimed])
    world.claims.save_step(claimed, "ocr", b"1")
    world.claims.progress(claimed, 50, "half")
    world.fail(claimed, delay=0)
    claimed = world.claim_one()
    world.claims.renew([claimed])
    world.finish(claimed)
    assert world.all_keys() == {
        "rq:job:j",
        "rq:results:j",
        "rq:finished:a",
        "rq:queues",
        "rq:jk:bell:a",
        "rq:jk:clock",
        "rq:jk:reply:w1:c",
    }
    assert 0 < world.redis.pttl("rq:jk:reply:w1:c") <= 120_000


def test_repeated_finish(world: World) -> None:
    """A finish that was recorded answers as it did, and counts once."""
    Presence(world.store, "w1", ["a"]).birth()
    claimed = world.started()
    for _ in range(3):
        assert world.finish(claimed).lost == []
    assert world.kinds("j") == [1]
    assert world.redis.hget("rq:worker:w1", "successful_job_count") == b"1"


def test_twice_in_one_batch(world: World) -> None:
    """The same finish twice in a batch is one finish."""
    claimed = world.started()
    assert world.finish(claimed, claimed).lost == []
    assert world.kinds("j") == [1]


def test_finish_after_fail(world: World) -> None:
    """An attempt ends once: a finish after its own failure changes nothing."""
    claimed = world.started()
    world.fail(claimed, delay=60)
    world.finish(claimed)
    assert world.state("j") == "scheduled"
    assert world.kinds("j") == [4]


def test_stale_token(world: World) -> None:
    """An attempt whose job runs elsewhere is told so, and changes nothing of it."""
    stale = world.started()
    world.pass_time(31)
    world.rescue()
    owner = world.claim_one()
    assert world.finish(stale).lost == [stale.token]
    assert world.state("j") == "started"
    assert world.finish(owner).lost == []
    assert world.finish(stale).lost == [stale.token]


def test_missing_lease(world: World) -> None:
    """A token without its lease owns nothing."""
    claimed = world.started()
    world.redis.zrem("rq:jk:lease:a", f"j:{claimed.token}")
    assert world.finish(claimed).lost == [claimed.token]
    assert world.state("j") == "started"


@pytest.mark.parametrize("status", ["canceled", "stopped"])
def test_ended_by_somebody_else(world: World, status: str) -> None:
    """A job that was canceled or stopped while it ran does not finish, and its claim is given up."""
    claimed = world.started()
    world.claims.renew([claimed])
    world.redis.hset("rq:job:j", "status", status)
    assert world.finish(claimed).lost == [claimed.token]
    assert world.state("j") == status
    assert not world.redis.exists("rq:wip:a", "rq:jk:lease:a", f"rq:execution:j:{claimed.token}")


def test_late_but_not_rescued(world: World) -> None:
    """A finish after the lease's end is taken as long as nobody has rescued the job."""
    claimed = world.started()
    world.pass_time(300)
    assert world.finish(claimed).lost == []


def test_one_lost_does_not_touch_the_others(world: World) -> None:
    """Neighbours of a lost claim finish."""
    world.enqueue("x", "y", "z")
    x, y, z = world.claim()
    world.cancel("y")
    assert world.finish(x, y, z).lost == [y.token]
    assert [world.state(job_id) for job_id in "xyz"] == ["finished", "canceled", "finished"]


@pytest.mark.parametrize("key", ["rq:job:y", "rq:results:y", "rq:jk:steps:y"])
def test_broken_key_does_not_touch_the_others(world: World, key: str) -> None:
    """A key of one job that holds something else costs its neighbours nothing, and blocks no later finish."""
    world.enqueue("x", "y", "z")
    x, y, z = world.claim()
    world.redis.delete(key)
    world.redis.set(key, "bytes")
    world.finish(x, y, z)
    assert world.state("x") == world.state("z") == "finished"
    world.pass_time(31)
    world.rescue()
    for claimed in world.claim():
        world.fail(claimed)
    assert world.state("y") in {"failed", "finished"}
    assert world.members("rq:jk:lease:a") == world.members("rq:wip:a") == set()


def test_many(world: World) -> None:
    """A batch of 500 finishes and 500 claims goes in one call."""
    for _ in range(2):
        world.enqueue(*(world.new() for _ in range(500)))
    batch = world.finish(*world.claim(500), want=500)
    assert (len(batch.claimed), batch.lost) == (500, [])
    assert world.redis.zcard("rq:finished:a") == world.redis.zcard("rq:wip:a") == 500


def test_two_queues(world: World) -> None:
    """A batch may finish jobs of several queues."""
    world.enqueue(world.new("x"), world.new("y", queue="b"))
    claimed = world.channel.claim({"a": 1, "b": 1}, block=0).claimed
    assert world.finish(*claimed).lost == []
    assert (world.members("rq:finished:a"), world.members("rq:finished:b")) == ({"x"}, {"y"})


def test_result_wakes_who_waits_for_it(world: World) -> None:
    """A client that waits for a job's result with RQ's blocking read gets it."""
    claimed = world.started()
    got: list[object] = []
    job = Job.fetch("j", connection=world.redis, serializer="json")
    waiting = threading.Thread(target=lambda: got.append(job.latest_result(timeout=4).return_value))
    waiting.start()
    while not world.redis.info("clients")["blocked_clients"]:
        pass
    world.finish(claimed)
    waiting.join(5)
    assert got == [{"ok": True}]


def test_results_stay_small(world: World) -> None:
    """A result stream takes what it holds, not the 4 KB that a new stream allocates, and keeps the newest ten."""
    world.enqueue("j")
    for _ in range(14):
        world.fail(world.claim_one(), delay=0)
    assert len(world.kinds("j")) == 10
    world.finish(world.claim_one())
    assert world.kinds("j") == [4] * 9 + [1]
    world.finish(world.started("k"))
    assert world.redis.memory_usage("rq:results:k") < 1500
    assert not world.redis.exists("rq:jk:scratch")


def test_values_are_their_own(world: World) -> None:
    """Each job of a batch gets its own value."""
    world.enqueue("x", "y", "z")
    batch = [Finished("a", claimed.id, claimed.token, f'"{claimed.id}"'.encode(), 1, 2) for claimed in world.claim()]
    world.channel.advance(batch, {})
    for job_id in "xyz":
        entry = world.redis.xrange(f"rq:results:{job_id}")
        assert len(entry) == 1
        (_, found) = world.store.run(attempts(world.store.keys, job_id))[0]
        assert found.value == f'"{job_id}"'.encode()


def test_retention_by_count(world: World) -> None:
    """A finish keeps as many finished jobs as the queue's rule says, the newest, and no key of the others."""
    world.rules["a"] = QueueRules(keep_done=2, keep_dead=2)
    for i in range(5):
        claimed = world.started(f"j{i}")
        world.claims.save_step(claimed, "s", b"1")
        world.finish(claimed)
    assert world.members("rq:finished:a") == {"j3", "j4"}
    assert {key for key in world.all_keys() if key.startswith(("rq:job:", "rq:results:", "rq:jk:steps"))} == {
        "rq:job:j3",
        "rq:job:j4",
        "rq:results:j3",
        "rq:results:j4",
    }


def test_keeping_none(world: World) -> None:
    """A queue that keeps nothing leaves nothing of a finished job."""
    world.rules["a"] = QueueRules(keep_done=0, keep_dead=0)
    world.finish(world.started())
    world.fail(world.started("k"))
    assert world.all_keys() == {"rq:queues", "rq:jk:bell:a", "rq:jk:clock", "rq:jk:reply:w1:c"}


def test_finish_without_claims(world: World) -> None:
    """An advance with nothing wanted claims nothing; one with nothing finished only claims."""
    world.enqueue("x", "y")
    (x,) = world.claim(1)
    assert world.channel.advance([done_with(x)], {}).claimed == []
    assert [claimed.id for claimed in world.channel.advance([], {"a": 5}).claimed] == ["y"]
