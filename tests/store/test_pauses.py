"""Pauses: what they keep from being begun, in which order it comes back, and that nothing is lost."""

import json
from typing import Any

import attrs
import pytest

from jobkit.store import operations, pauses
from jobkit.store.codec import pack_data, pack_extra, with_name
from jobkit.store.operations import read
from jobkit.store.peeking import Peeking
from jobkit.store.records import NewJob
from tests.store.test_full_server import full
from tests.store.test_parking import look, parked
from tests.store.world import World, done_with


def job(
    world: World, job_id: str, *, tenant: str = "t_1", name: str = "acme.work", text: str = "", **rest: Any
) -> NewJob:
    """A job of a tenant, as a kit writes it; with `lane`, one that waits in a lane."""
    data = pack_data(name, 1, json.dumps({"text": text}).encode())
    extra = with_name(pack_extra(3, ["exp", 2, 2, None, 0], {"tenant": tenant}), data, name)
    lane = rest.pop("lane", None)
    flow = b"" if lane is None else json.dumps({"l": lane, "b": 0}).encode()
    return attrs.evolve(world.new(job_id, **rest), data=data, extra=extra, flow=flow)


def pause(world: World, pause_id: str = "p1", **told: Any) -> int:
    """Put a pause in force: q (queue), n (name), t (tag), u (until, ms)."""
    return world.store.run(pauses.pause(world.store.keys, {"id": pause_id, "r": "why", "b": "me@here", **told}))


def resume(world: World, *ids: str) -> tuple[int, int]:
    """End pauses, as a caller does that lives to the end; how many, and how many jobs came back."""
    done = world.store.run(pauses.resume(world.store.keys, ids))
    ended, back = done.ended, done.back
    while done.more:
        done = world.store.run(pauses.resume(world.store.keys, ()))
        back += done.back
    return ended, back


def ids(claimed: list[Any]) -> list[str]:
    """The claimed jobs, in the order of the claim."""
    return [each.id for each in claimed]


def claim_all(world: World) -> list[str]:
    """What claims are given until they have seen everything."""
    found: list[str] = []
    while True:
        batch = world.channel.claim({"a": 20}, block=0.0)
        found += ids(batch.claimed)
        if not batch.claimed and batch.wait != 0.0:
            return found


def held_keys(world: World) -> set[str]:
    """What a pause may leave behind."""
    return {key for key in world.all_keys() if key.startswith(("rq:jk:held", "rq:jk:pauses"))}


def test_a_paused_queue_stands_still(world: World) -> None:
    """Nothing of a paused queue is begun, its backlog stays as it is, and other queues go on."""
    world.enqueue("j1", "j2", world.new("other", "b"))
    pause(world, q="a")
    assert world.claim() == []
    assert world.waiting() == ["j1", "j2"]
    assert world.state("j1") == "queued"
    assert ids(world.claim(queue="b")) == ["other"]
    assert resume(world, "p1") == (1, 0)
    assert ids(world.claim()) == ["j1", "j2"]
    assert held_keys(world) == set()


def test_a_bell_does_not_go_round(world: World) -> None:
    """A claim of a paused queue leaves no bell, whoever looks rings none, and resuming rings."""
    world.sweeps.publish(world.rules)
    world.enqueue("j")
    pause(world, q="a")
    batch = world.channel.claim({"a": 10}, block=0.0)
    assert batch.wait is None
    assert not world.redis.exists("rq:jk:bell:a")
    assert Peeking(world.store, "w1").peek() == 0
    assert not world.redis.exists("rq:jk:bell:a")
    resume(world, "p1")
    assert world.redis.lrange("rq:jk:bell:a", 0, -1) == [b"1"]


def test_a_claim_waits_for_the_end(world: World) -> None:
    """A claim of a queue that is paused for a while says when to come again, and is then given its jobs."""
    world.enqueue("j")
    pause(world, q="a", u=world.now_ms() + 60_000)
    pause(world, "p2", q="a", u=world.now_ms() + 30_000)
    wait = world.channel.claim({"a": 10}, block=0.0).wait
    assert wait is not None
    assert 55 < wait <= 60
    world.pass_time(61)
    assert ids(world.claim()) == ["j"]


@pytest.mark.parametrize("lane", [None, "t\x1fmutex=m"])
@pytest.mark.parametrize("text", ["short", "long" * 1000])
@pytest.mark.parametrize(
    "told",
    [
        {"n": "acme.other"},
        {"t": ["tenant", "t_9"]},
        {"q": "a", "n": "acme.other"},
        {"q": "a", "t": ["tenant", "t_9"]},
        {"n": "acme.other", "t": ["tenant", "t_9"]},
        {"q": "a", "n": "acme.other", "t": ["tenant", "t_9"]},
    ],
)
def test_what_is_paused_is_held(one_world: World, told: dict[str, Any], text: str, lane: str | None) -> None:
    """Jobs that fit a pause are held, of the list and of lanes, with small and with compressed data; others run."""
    world = one_world
    pause(world, **told)
    world.enqueue(
        job(world, "fits", name="acme.other", tenant="t_9", text=text, lane=lane),
        job(world, "near", name="acme.other1", tenant="t_99", text=text, lane=lane and "u"),
    )
    assert ids(world.claim()) == ["near"]
    found = world.read("fits")
    assert (found.state, found.reason) == ("queued", "paused: why")
    assert world.hash("fits")["status"] == "deferred"
    assert world.members("rq:deferred:a") == {"fits"}
    assert resume(world, "p1") == (1, 1)
    found = world.read("fits")
    assert (found.state, found.reason) == ("queued", None)
    (claimed,) = world.claim()
    assert (claimed.id, claimed.failed, claimed.epoch) == ("fits", 0, 1)
    assert held_keys(world) == set()
    assert world.members("rq:deferred:a") == set()


def test_a_pause_of_another_queue_holds_nothing(world: World) -> None:
    """A pause of a name in one queue leaves jobs of that name in another alone."""
    pause(world, q="b", n="acme.work")
    world.enqueue(job(world, "j"))
    assert ids(world.claim()) == ["j"]


@pytest.mark.parametrize("lane", [None, ""])
def test_nothing_is_lost_and_order_is_kept(one_world: World, lane: str | None) -> None:
    """Of a thousand jobs with a pause in their midst all run once; the held ones in their order."""
    world = one_world
    names = [f"j{n:04}" for n in range(1000)]
    for at in (0, 500):
        world.enqueue(*(job(world, each, tenant=f"t_{int(each[1:]) % 2}", lane=lane) for each in names[at : at + 500]))
    before = ids(world.claim(100))
    assert before == names[:100]
    pause(world, t=["tenant", "t_1"])
    assert claim_all(world) == names[100::2]
    assert world.redis.zcard("rq:jk:held:p1:a") == 450
    assert resume(world, "p1") == (1, 450)
    after = ids(world.claim(1000))
    assert after == names[101::2]
    assert held_keys(world) == set()


def test_a_claim_among_held_jobs_asks_again(world: World) -> None:
    """A claim that stops at its bound rings and says so; one that saw all neither rings nor waits."""
    pause(world, t=["tenant", "t_9"])
    world.enqueue(*(job(world, f"j{n}", tenant="t_9") for n in range(100)), job(world, "last"))
    first = world.channel.claim({"a": 5}, block=0.0)
    assert (first.claimed, first.wait) == ([], 0.0)
    assert world.redis.exists("rq:jk:bell:a")
    second = world.channel.claim({"a": 5}, block=0.0)
    assert (ids(second.claimed), second.wait) == (["last"], None)
    assert not world.redis.exists("rq:jk:bell:a")


def test_a_limited_queue_with_a_pause(world: World) -> None:
    """Jobs that are held take nothing of a rate; what it admits is found behind them."""
    world.sweeps.enforce({"a": '{"rev":0,"keyed":{},"rate":[[5,60000]]}'}, 0)
    pause(world, t=["tenant", "t_9"])
    world.enqueue(*(job(world, f"held{n}", tenant="t_9") for n in range(200)))
    world.enqueue(*(job(world, f"j{n}") for n in range(7)))
    assert claim_all(world) == [f"j{n}" for n in range(5)]
    world.pass_time(61)
    assert claim_all(world) == ["j5", "j6"]
    assert resume(world, "p1") == (1, 200)
    assert claim_all(world) == ["held0", "held1", "held2"]


def test_new_jobs_are_held_behind(world: World) -> None:
    """Jobs that come while others are held, scheduled ones too, come back behind these."""
    pause(world, n="acme.work")
    world.enqueue(job(world, "j1"), job(world, "later", delay_ms=1000))
    world.claim()
    world.enqueue(job(world, "j2"))
    world.claim()
    world.pass_time(2)
    assert world.claim() == []
    resume(world, "p1")
    assert ids(world.claim()) == ["j1", "j2", "later"]


def test_running_jobs_are_not_touched(world: World) -> None:
    """A job that runs goes on and ends; one whose worker died is held when it comes again, and loses no attempt."""
    running, orphan = world.started("running"), world.started("orphan")
    pause(world, n="acme.work")
    assert world.claims.progress(running, 50, "half")
    assert not world.finish(running).lost
    world.pass_time(31)
    assert world.rescue()[0] == 1
    assert world.claim() == []
    assert world.read("orphan").state == "queued"
    resume(world, "p1")
    (again,) = world.claim()
    assert (again.id, again.epoch, again.failed) == (orphan.id, 2, 0)


def test_the_end_of_a_pause_is_swept(world: World) -> None:
    """A pause whose time is over holds nothing more, and a sweep brings back what it held."""
    world.sweeps.publish(world.rules)
    pause(world, t=["tenant", "t_1"], u=world.now_ms() + 10_000)
    world.enqueue(*(job(world, f"j{n:03}") for n in range(250)))
    assert claim_all(world) == []
    world.sweeps.sweep()
    assert world.redis.zcard("rq:jk:held:p1:a") == 250
    world.pass_time(11)
    assert pauses.in_force(world.store) == []
    assert world.sweeps.sweep().more
    assert not world.sweeps.sweep().more
    assert ids(world.claim(300)) == [f"j{n:03}" for n in range(250)]
    assert held_keys(world) == set()


def test_what_a_dead_caller_left_is_swept(world: World) -> None:
    """The first call of a resume ends the pause; what it leaves held, a sweep brings back in order."""
    world.sweeps.publish(world.rules)
    pause(world, n="acme.work")
    world.enqueue(*(job(world, f"j{n:03}") for n in range(250)))
    assert claim_all(world) == []
    assert world.store.run(pauses.resume(world.store.keys, ["p1"])) == pauses.Resumed(1, 200, more=True)
    assert not world.sweeps.sweep().more
    assert ids(world.claim(300)) == [f"j{n:03}" for n in range(250)]


def test_two_pauses_of_one_job(world: World) -> None:
    """A job that two pauses are about runs once both are over."""
    pause(world, n="acme.work")
    pause(world, "p2", t=["tenant", "t_1"])
    world.enqueue(job(world, "j"))
    world.claim()
    resume(world, "p1")
    assert world.claim() == []
    assert world.read("j").state == "queued"
    resume(world, "p2")
    assert ids(world.claim()) == ["j"]
    assert held_keys(world) == set()


@pytest.mark.parametrize("how", ["cancel", "rq cancel", "delete", "rq requeue"])
def test_a_held_job_may_be_ended(world: World, how: str) -> None:
    """A held job that was cancelled or deleted does not come back; one that was requeued runs once."""
    import rq
    from rq.serializers import JSONSerializer

    pause(world, t=["tenant", "t_9"])
    world.enqueue(job(world, "j", tenant="t_9"))
    world.claim()
    if how == "cancel":
        assert world.cancel("j") == "canceled"
        assert not world.redis.exists("rq:jk:held:p1:a")
    elif how == "rq cancel":
        rq.job.Job.fetch("j", connection=world.redis, serializer=JSONSerializer).cancel()
    elif how == "delete":
        rq.job.Job.fetch("j", connection=world.redis, serializer=JSONSerializer).delete()
    else:
        rq.Queue("a", connection=world.redis, serializer=JSONSerializer).enqueue_job(
            rq.job.Job.fetch("j", connection=world.redis, serializer=JSONSerializer)
        )
        assert world.claim() == []
    resume(world, "p1")
    assert ids(world.claim()) == (["j"] if how == "rq requeue" else [])
    assert {"jk_held", "jk_reason"} & world.hash("j").keys() == ({"jk_reason"} if how == "cancel" else set())
    assert held_keys(world) == set()


def test_jobs_that_cannot_be_read_are_not_held(world: World) -> None:
    """Jobs whose fields are somebody else's, or whose key is no hash, are claimed as ever."""
    pause(world, n="acme.work", t=["tenant", "t_1"])
    world.enqueue("odd", "gone")
    world.redis.hset("rq:job:odd", mapping={"jk": "[", "data": b"\x80"})
    world.redis.delete("rq:job:gone")
    world.redis.set("rq:job:gone", "no hash")
    assert ids(world.claim()) == ["odd", "gone"]


def test_parked_jobs_of_a_paused_queue(world: World) -> None:
    """What another release has parked stays where the queue is paused, and is held where it fits a pause."""
    parked(world, "old", "j")
    pause(world, q="a")
    assert look(world, "new") == []
    assert world.state("j") == "scheduled"
    resume(world, "p1")
    pause(world, "p2", n="acme.work")
    assert look(world, "new") == []
    assert world.hash("j")["jk_held"] == "p2"
    resume(world, "p2")
    assert ids(world.claim()) == ["j"]


def test_a_pause_is_made_once(world: World) -> None:
    """The same id makes one pause; one that ends before it begins, and one too many, are refused."""
    since = pause(world, q="a")
    assert since > 0
    assert pause(world, q="a") == since
    assert pause(world, "late", q="a", u=world.now_ms() - 1) == pauses.OVER
    for n in range(pauses.MOST - 1):
        assert pause(world, f"more{n}", q="b", r="é") > 0
    assert pause(world, "one more", q="b") == pauses.TOO_MANY
    assert len(pauses.in_force(world.store)) == pauses.MOST
    assert resume(world, "p1", "unknown") == (1, 0)
    assert pauses.in_force(world.store)[0]["r"] == "é"


def test_a_full_server_pauses(world: World) -> None:
    """Jobs are paused, held and resumed on a full server."""
    world.enqueue(job(world, "j"))
    with full(world):
        assert pause(world, n="acme.work") > 0
        assert world.claim() == []
        assert resume(world, "p1") == (1, 1)
        assert ids(world.claim()) == ["j"]


def test_a_handle_sees_one_moment(world: World) -> None:
    """A job that is held reads as queued, with the reason; RQ's tools call it deferred."""
    pause(world, t=["tenant", "t_1"], r="")
    world.enqueue(job(world, "j"))
    world.claim()
    found = world.store.run(read(world.store.keys, "j"))
    assert found is not None
    assert (found[0].state, found[0].reason) == ("queued", "paused")


@pytest.mark.parametrize("text", ["no JSON", "7", "{"])
def test_pauses_that_cannot_be_read_pause_nothing(world: World, text: str) -> None:
    """Whatever somebody else wrote in the place of the pauses, jobs run and end."""
    world.redis.set("rq:jk:pauses", text)
    world.enqueue("j")
    claimed = world.claim_one()
    assert world.finish(claimed).lost == []


def test_a_mutex_is_not_kept_for_a_paused_queue(world: World) -> None:
    """A mutex that comes free passes the lanes of a queue that is paused whole; theirs run once it is resumed."""
    world.enqueue(job(world, "holder", queue="b", lane="\x1fmutex=m"))
    (holder,) = world.claim(queue="b")
    world.enqueue(job(world, "paused", lane="\x1fmutex=m"))
    assert world.claim() == []
    world.enqueue(job(world, "next", queue="b", lane="\x1fmutex=m"))
    assert world.claim(queue="b") == []
    pause(world, q="a")
    world.channel.advance([done_with(holder)], {})
    (following,) = world.claim(queue="b")
    assert following.id == "next"
    resume(world, "p1")
    assert world.claim() == []
    world.channel.advance([done_with(following)], {})
    assert ids(world.claim()) == ["paused"]


def test_a_held_job_that_is_retried_waits(world: World) -> None:
    """Who retries a job that a pause holds is told that it waits, as its status says."""
    pause(world, t=["tenant", "t_1"])
    world.enqueue(job(world, "j"))
    assert claim_all(world) == []
    assert world.store.run(operations.retry(world.store.keys, "j", "a")) == "waiting"
