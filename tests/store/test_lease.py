"""renew and rescue: leases run by the scripts' own clock."""

import pytest

from jobkit.store.sweeps import OUTAGE_AFTER
from tests.store.world import World


def test_renew_extends(world: World) -> None:
    """A renewed claim lives a lease longer from the renewal on; one that was not is rescued."""
    world.enqueue("x", "y")
    x, y = world.claim()
    world.pass_time(20)
    assert world.claims.renew([x]) == set()
    world.pass_time(20)
    assert world.rescue() == (1, 0, 0)
    assert (world.state("x"), world.state("y")) == ("started", "queued")
    assert world.claims.renew([x, y]) == {y.token}


def test_execution_keys_come_with_the_first_renewal(world: World) -> None:
    """Execution keys are written at the first renewal, live as long as renewals come, and are RQ's."""
    claimed = world.started()
    assert not world.redis.exists(f"rq:execution:j:{claimed.token}")
    world.claims.renew([claimed])
    key = f"rq:execution:j:{claimed.token}"
    assert world.redis.hkeys(key) == [b"id", b"job_id", b"created_at", b"worker_name", b"last_heartbeat"]
    created = world.redis.hget(key, "created_at")
    for each in (key, "rq:executions:j", "rq:worker:w1:executions"):
        assert 100 < world.redis.ttl(each) <= 120
    world.pass_time(10)
    world.claims.renew([claimed])
    assert world.redis.hget(key, "created_at") == created
    assert world.redis.hget(key, "last_heartbeat") != created


def test_renew_never_creates(world: World) -> None:
    """A lease that is gone is not made again."""
    claimed = world.started()
    world.redis.delete("rq:jk:lease:a")
    assert world.claims.renew([claimed]) == {claimed.token}
    assert not world.redis.exists("rq:jk:lease:a")


def test_renew_of_what_has_ended(world: World) -> None:
    """A claim that its own worker has ended in the meantime is not lost, and nothing comes back."""
    claimed = world.started()
    world.finish(claimed)
    before = world.all_keys()
    assert world.claims.renew([claimed]) == set()
    assert world.all_keys() == before


def test_renew_many(world: World) -> None:
    """All of a worker's claims are renewed, however many."""
    world.enqueue(*(f"j{i}" for i in range(450)))
    claimed = world.claim(450)
    world.cancel("j7")
    assert world.claims.renew(claimed) == {claimed[7].token}
    assert world.redis.scard("rq:worker:w1:executions") == 449


def test_rescue_puts_to_the_front(world: World) -> None:
    """Rescued jobs are at the front, the one whose lease ended first foremost, with no attempt used."""
    world.enqueue("x")
    world.claim()
    world.pass_time(5)
    world.enqueue("y")
    world.claim()
    world.enqueue("z")
    assert world.rescue() == (0, 0, 0)
    world.pass_time(31)
    world.redis.delete("rq:jk:bell:a")
    assert world.rescue() == (2, 0, 0)
    assert world.waiting() == ["x", "y", "z"]
    assert world.redis.exists("rq:jk:bell:a")
    assert [(claimed.rescues, claimed.failed) for claimed in world.claim()] == [(1, 0), (1, 0), (0, 0)]
    assert world.kinds("x") == []


def test_rescue_releases_all(world: World) -> None:
    """A rescued claim leaves no execution, wip member or lease."""
    claimed = world.started()
    world.claims.renew([claimed])
    world.pass_time(31)
    world.rescue()
    assert world.all_keys() == {
        "rq:job:j",
        "rq:queue:a",
        "rq:queues",
        "rq:jk:bell:a",
        "rq:jk:clock",
        "rq:jk:sweep",
        "rq:jk:reply:w1:c",
    }


def test_poison(world: World) -> None:
    """A suspect that takes down three workers more goes to the dead letters, with the reason as its result."""
    world.enqueue("j", "neighbour")
    for round_ in range(4):
        claims = world.claims if round_ % 2 == 0 else world.other_claims
        channel = claims.channel("c")
        claimed = channel.claim({"a": 1}, block=0).claimed[0]
        channel.close()
        assert (claimed.id, claimed.rescues) == ("j", round_)
        assert claims.try_out(claimed)
        world.pass_time(31)
        assert world.rescue() == ((1, 0, 0) if round_ < 3 else (0, 1, 0))
    assert world.state("j") == "failed"
    assert "poison" in (world.read("j").error or "")
    assert world.read("j").reason == "the workers that died with it: w1, w2, w1, w2"
    assert world.kinds("j") == [2]
    assert world.members("rq:failed:a") == world.members("rq:jk:dead:a") == {"j"}
    assert [claimed.id for claimed in world.claim()] == ["neighbour"]


def test_suspects_that_did_not_run_pay_nothing(world: World) -> None:
    """A suspect that was claimed and not tried out when its worker died goes back without a count."""
    world.enqueue("j")
    for rescues in (0, 1, 1, 1, 1, 1):
        claimed = world.claim_one()
        assert claimed.rescues == rescues
        world.pass_time(31)
        assert world.rescue() == (1, 0, 0)
    stale = claimed
    assert world.claim_one().rescues == 1
    assert not world.claims.try_out(stale)


def test_suspects_that_were_put_off_return_to_the_front(world: World) -> None:
    """A suspect that was put off behind another one goes before the jobs that came in meanwhile, in its old place."""
    world.enqueue("s1", "s2")
    world.claim(2)
    world.pass_time(31)
    world.rescue()
    for claimed in world.claim(2):
        assert world.claims.snooze(claimed, delay=0.05 if claimed.id == "s1" else 0.06, reason="one at a time")
    world.enqueue("late1", "late2")
    world.pass_time(1)
    world.sweeps.promote("a")
    assert world.waiting() == ["s1", "s2", "late1", "late2"]


def test_failures_do_not_pay_for_rescues(world: World) -> None:
    """Interruptions have a budget of their own: they use no attempt, and attempts use none of them."""
    world.enqueue("j")
    world.fail(world.claim_one(), delay=0)
    world.claim_one()
    world.pass_time(31)
    world.rescue()
    claimed = world.claim_one()
    assert (claimed.failed, claimed.rescues) == (1, 1)


@pytest.mark.parametrize("status", ["canceled", "stopped", "finished", "failed", None])
def test_ended_is_only_released(world: World, status: str | None) -> None:
    """A job that ended elsewhere, or is gone, gives up what its claim held and is not run again."""
    claimed = world.started()
    world.claims.renew([claimed])
    if status:
        world.redis.hset("rq:job:j", "status", status)
    else:
        world.redis.delete("rq:job:j")
    world.pass_time(31)
    assert world.rescue() == (0, 0, 1)
    assert world.waiting() == []
    assert world.state("j") == (status or "missing")
    assert world.all_keys().isdisjoint({"rq:jk:lease:a", "rq:wip:a", f"rq:execution:j:{claimed.token}"})


def test_foreign_member(world: World) -> None:
    """A lease that no claim wrote is dropped."""
    world.redis.zadd("rq:jk:lease:a", {"nonsense": 1, "a:b": 2})
    assert world.rescue() == (0, 0, 2)
    assert not world.redis.exists("rq:jk:lease:a")


def test_key_that_is_no_hash_any_more(world: World) -> None:
    """A running job whose key was overwritten is handed out as corrupt after its lease, not lost."""
    claimed = world.started()
    world.redis.delete("rq:job:j")
    world.redis.set("rq:job:j", "bytes")
    assert world.claims.renew([claimed]) == {claimed.token}
    world.pass_time(31)
    assert world.rescue() == (1, 0, 0)
    assert world.claim_one().data == b""
    assert world.redis.get("rq:jk:corrupt:j") == b"bytes"


def test_rescue_is_bounded(world: World) -> None:
    """A sweep rescues 200 of a queue and says that there are more."""
    world.sweeps.publish(world.rules)
    world.enqueue(*(f"j{i}" for i in range(450)))
    world.claim(450)
    world.pass_time(31)
    reports = [world.sweeps.sweep() for _ in range(3)]
    assert [(report.rescued, report.more) for report in reports] == [(200, True), (200, True), (50, False)]
    assert set(world.waiting()) == {f"j{i}" for i in range(450)}


def test_two_sweeps_rescue_once(world: World) -> None:
    """Sweeps of several processes rescue each claim once."""
    world.started()
    world.pass_time(31)
    assert [world.rescue(), world.rescue()] == [(1, 0, 0), (0, 0, 0)]
    assert world.read("j").rescues == 1


def test_grace_after_an_outage(world: World) -> None:
    """After a time without any sweep, leases get a grace: workers that live renew first, the others' jobs follow."""
    world.sweeps.publish(world.rules)
    world.sweeps.sweep()
    world.enqueue("alive", "dead")
    alive, _ = world.claim()
    world.pass_time(60, swept=False)
    assert world.sweeps.sweep().rescued == 0
    assert world.claims.renew([alive]) == set()
    world.pass_time(OUTAGE_AFTER - 1)
    assert world.sweeps.sweep().rescued == 0
    world.pass_time(2)
    assert world.sweeps.sweep().rescued == 1
    assert (world.state("alive"), world.state("dead")) == ("started", "queued")


def test_no_outage_where_nothing_was_swept(world: World) -> None:
    """The first sweep ever rescues at once."""
    world.sweeps.publish(world.rules)
    world.started()
    world.pass_time(60, swept=False)
    assert world.sweeps.sweep().rescued == 1


def test_clock_never_runs_back(world: World) -> None:
    """A server whose clock was set back goes on from the time that scripts have seen."""
    world.redis.set("rq:jk:clock", world.now_ms() + 3_600_000)
    claimed = world.started()
    lease = world.redis.zscore("rq:jk:lease:a", f"j:{claimed.token}")
    assert lease is not None
    assert lease > world.redis.time()[0] * 1000 + 3_600_000
    assert world.rescue() == (0, 0, 0)
