"""The sweep: every queue that has rules, whoever serves it."""

import json

import pytest

from jobkit.store.records import QueueRules
from tests.store.world import World


def test_queues_that_nobody_serves(world: World) -> None:
    """A queue that was dropped from the code is still promoted, rescued and trimmed."""
    world.sweeps.publish({"old": QueueRules(keep_done=1, keep_dead=1)})
    world.enqueue(world.new("j", queue="old", delay_ms=1000))
    world.pass_time(2)
    report = world.sweeps.sweep()
    assert (report.promoted, report.more) == (1, False)
    assert world.waiting("old") == ["j"]
    assert world.redis.exists("rq:jk:bell:old")


def test_publish_makes_queues_known(world: World) -> None:
    """Published queues are RQ's queues, and publishing nothing is nothing."""
    world.sweeps.publish({})
    assert world.all_keys() == set()
    world.sweeps.publish(world.rules)
    assert world.inspection.queue_names() == ["a", "b"]
    assert world.sweeps.known() == (world.rules, ())


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{}", '{"keep_done": "x", "keep_dead": 1}', '{"keep_done": 1, "keep_dead": null}', "\x00"]
)
def test_unreadable_rules(world: World, text: str) -> None:
    """A queue whose rules cannot be read is swept without trimming, is reported, and holds up no other."""
    world.sweeps.publish(world.rules)
    world.redis.hset("rq:jk:specs", "bad", text)
    world.redis.hset("rq:jk:specs", "newer", json.dumps({"keep_done": 1, "keep_dead": 1, "unknown": 1}))
    world.enqueue(world.new("x", queue="bad", delay_ms=1000), world.new("y", queue="b", delay_ms=1000))
    world.pass_time(2)
    report = world.sweeps.sweep()
    assert report.promoted == 2
    assert set(report.unreadable) == {"bad", "newer"}


def test_promotion_is_bounded(world: World) -> None:
    """A sweep promotes 200 of a queue and says that there are more."""
    world.sweeps.publish(world.rules)
    world.enqueue(*(world.new(delay_ms=1000) for _ in range(450)))
    world.pass_time(2)
    reports = [world.sweeps.sweep() for _ in range(3)]
    assert [(report.promoted, report.more) for report in reports] == [(200, True), (200, True), (50, False)]


def test_promotion_drops_what_is_no_longer_scheduled(world: World) -> None:
    """An entry of the schedule whose job ran, ended or vanished is dropped."""
    world.enqueue(*(world.new(job_id, delay_ms=1000) for job_id in ("gone", "queued", "scheduled")))
    world.redis.delete("rq:job:gone")
    world.redis.hset("rq:job:queued", "status", "queued")
    world.pass_time(2)
    world.sweeps.promote("a")
    assert world.waiting() == ["scheduled"]
    assert not world.redis.exists("rq:scheduled:a", "rq:job:gone")


def end_many(world: World, count: int) -> None:
    """Finish and fail `count` jobs each, and cancel as many."""
    for start in range(0, count, 150):
        done = [world.new() for _ in range(min(150, count - start))]
        world.enqueue(*done)
        world.finish(*world.claim(500))
    for _ in range(count):
        world.fail(world.started(world.new().id))
        job = world.new()
        world.enqueue(job)
        world.cancel(job.id)


def test_trim_by_count(world: World) -> None:
    """A rule that became stricter is reached in steps of 200, and leaves no key."""
    world.sweeps.publish(world.rules)
    end_many(world, 250)
    world.sweeps.publish({"a": QueueRules(keep_done=10, keep_dead=5)})
    reports = [world.sweeps.sweep() for _ in range(3)]
    assert [(report.trimmed, report.more) for report in reports] == [(600, True), (130, False), (0, False)]
    assert world.redis.zcard("rq:finished:a") == 10
    for key in ("rq:failed:a", "rq:jk:dead:a", "rq:canceled:a", "rq:jk:gone:a"):
        assert world.redis.zcard(key) == 5
    assert len([key for key in world.all_keys() if key.startswith(("rq:job:", "rq:results:"))]) == 40


def test_trim_by_age(world: World) -> None:
    """Ended jobs go when they are as old as the rule says, those that failed and those that finished each by theirs."""
    world.sweeps.publish({"a": QueueRules(keep_done=99, keep_dead=99, done_age_ms=10_000, dead_age_ms=60_000)})
    for age in (0, 20, 20):
        world.pass_time(age)
        end_many(world, 1)
    assert world.sweeps.sweep().trimmed == 2
    assert (world.redis.zcard("rq:finished:a"), world.redis.zcard("rq:failed:a")) == (1, 3)
    world.pass_time(30)
    assert world.sweeps.sweep().trimmed == 3
    world.pass_time(60)
    world.sweeps.sweep()
    assert not [key for key in world.all_keys() if key.startswith(("rq:job:", "rq:results:", "rq:failed", "rq:done"))]


def test_trim_spares_the_living(world: World) -> None:
    """A job that lives again is not deleted by a rank that it left behind."""
    world.started("running")
    world.enqueue("queued")
    ours = world.now_ms() / 1000 + 315360000
    world.redis.zadd("rq:finished:a", {"running": ours - 2, "queued": ours - 1})
    world.redis.zadd("rq:jk:dead:a", {"running": 1, "queued": 2})
    world.sweeps.trim("a", QueueRules(keep_done=0, keep_dead=0))
    assert (world.state("running"), world.state("queued")) == ("started", "queued")
    assert not world.redis.exists("rq:finished:a", "rq:jk:dead:a")


def test_trim_takes_everything_of_a_job(world: World) -> None:
    """Hash, results, steps, executions and quarantined bytes of a trimmed job all go."""
    world.enqueue("j")
    world.redis.delete("rq:job:j")
    world.redis.set("rq:job:j", "bytes")
    claimed = world.claim_one()
    world.claims.renew([claimed])
    world.claims.save_step(claimed, "s", b"1")
    world.fail(claimed)
    world.sweeps.trim("a", QueueRules(keep_done=0, keep_dead=0))
    assert not [key for key in world.all_keys() if ":j" in key and not key.startswith("rq:jk:")]
    assert not world.redis.exists("rq:jk:steps:j", "rq:jk:corrupt:j")


def test_one_sweep_serves_many(world: World) -> None:
    """A worker leaves it at a sweep that another has begun just before, and sweeps where none was begun for a while."""
    world.sweeps.publish(world.rules)
    world.sweeps.sweep()
    world.enqueue(world.new("j", delay_ms=1000))
    world.pass_time(2, swept=False)
    assert world.sweeps.sweep(unless_within=3).promoted == 0
    assert world.state("j") == "scheduled"
    world.pass_time(2, swept=False)
    assert world.sweeps.sweep(unless_within=3).promoted == 1
    assert world.state("j") == "queued"
