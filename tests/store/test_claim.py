"""claim: what is handed out, what is dropped, and how long to wait."""

import threading

import pytest

from jobkit.store.codec import pack_data
from tests.store.world import EXTRA, World


def test_what_a_claim_hands_out(world: World) -> None:
    """A claim carries the job's bytes, timeout and counts, and its hash says who runs it."""
    world.enqueue("j")
    claimed = world.claim_one()
    assert (claimed.queue, claimed.id, claimed.data, claimed.extra) == (
        "a",
        "j",
        pack_data("acme.work", 1, b'{"n":1}'),
        EXTRA,
    )
    assert (claimed.timeout, claimed.failed, claimed.epoch, claimed.rescues, claimed.parked_ms) == (60, 0, 1, 0, 0)
    hash_ = world.hash("j")
    assert (hash_["status"], hash_["worker_name"], hash_["jk_token"]) == ("started", "w1", claimed.token)
    assert world.members("rq:jk:lease:a") == world.members("rq:wip:a") == {f"j:{claimed.token}"}
    assert world.redis.zscore("rq:wip:a", f"j:{claimed.token}") > world.now_ms() / 1000 + 300_000_000
    assert world.redis.zscore("rq:jk:lease:a", f"j:{claimed.token}") == pytest.approx(world.now_ms() + 30_000, abs=5000)


def test_first_in_first_out_across_queues(world: World) -> None:
    """Each queue gives as many as were wanted of it, oldest first."""
    world.enqueue(*(world.new(f"{queue}{i}", queue=queue) for i in range(4) for queue in "ab"))
    batch = world.channel.claim({"a": 3, "b": 1}, block=0)
    assert [claimed.id for claimed in batch.claimed] == ["a0", "a1", "a2", "b0"]
    assert len({claimed.token for claimed in batch.claimed}) == 4


def test_nothing_wanted(world: World) -> None:
    """A claim that wants nothing takes nothing."""
    world.enqueue("j")
    assert world.channel.claim({"a": 0}, block=0).claimed == []
    assert world.waiting() == ["j"]


def test_epoch_grows(world: World) -> None:
    """Each claim of a job has the next epoch and a new token."""
    first = world.started()
    world.claims.put_back([first])
    second = world.claim_one()
    assert (first.epoch, second.epoch) == (1, 2)
    assert first.token != second.token


@pytest.mark.parametrize("status", ["finished", "failed", "canceled", "stopped", "scheduled", "deferred", "started"])
def test_stale_hint(world: World, status: str) -> None:
    """An id whose job is not queued is dropped from the list and its job left alone."""
    world.enqueue("j", "k")
    world.redis.hset("rq:job:j", "status", status)
    assert [claimed.id for claimed in world.claim()] == ["k"]
    assert world.state("j") == status
    assert world.waiting() == []


def test_missing_hash(world: World) -> None:
    """An id without a job is dropped."""
    world.redis.rpush("rq:queue:a", "ghost")
    assert world.claim() == []
    assert not world.redis.exists("rq:job:ghost", "rq:queue:a")


def test_two_hints_one_start(world: World) -> None:
    """A job that is twice in its list is started once."""
    world.enqueue("j")
    world.redis.rpush("rq:queue:a", "j")
    assert [claimed.id for claimed in world.claim()] == ["j"]


def test_live_token_is_not_claimed(world: World) -> None:
    """A job with a live lease is not started again, even where somebody set its status back."""
    claimed = world.started()
    world.redis.hset("rq:job:j", "status", "queued")
    world.redis.rpush("rq:queue:a", "j")
    assert world.claim() == []
    assert world.finish(claimed).lost == []


def test_many_stale_hints(world: World) -> None:
    """A claim visits what it wants and 64 more, then rings again for the rest."""
    world.redis.rpush("rq:queue:a", *(f"ghost{i}" for i in range(200)))
    world.enqueue("j")
    claims = 0
    while "j" not in {claimed.id for claimed in world.claim(1)}:
        claims += 1
        assert world.redis.exists("rq:jk:bell:a")
    assert claims == 200 // 65
    assert world.waiting() == []


@pytest.mark.parametrize("kind", ["string", "list", "zset"])
def test_not_a_hash(world: World, kind: str) -> None:
    """A job whose key holds something else goes the way to the dead letters with its bytes, and blocks nobody."""
    write = {
        "string": lambda: world.redis.set("rq:job:j", "bytes"),
        "list": lambda: world.redis.rpush("rq:job:j", "bytes"),
        "zset": lambda: world.redis.zadd("rq:job:j", {"bytes": 1}),
    }
    world.enqueue("j", "k")
    world.redis.delete("rq:job:j")
    write[kind]()
    corrupt, fine = world.claim()
    assert (corrupt.id, corrupt.data, fine.id) == ("j", b"", "k")
    assert world.fail(corrupt, None)
    assert world.state("j") == "failed"
    assert world.hash("j")["jk_corrupt"] == "rq:jk:corrupt:j"
    assert world.redis.type("rq:jk:corrupt:j").decode() == kind


@pytest.mark.parametrize("field", ["jk_failed", "jk_epoch", "jk_rescues", "jk_parked", "retries_left", "timeout"])
@pytest.mark.parametrize("value", [b"", b"x", b"1e999", b"\xff"])
def test_broken_fields(world: World, field: str, value: bytes) -> None:
    """A field that somebody broke costs the claim nothing: the job and its neighbours are handed out."""
    world.enqueue("j", "k")
    world.redis.hset("rq:job:j", mapping={field: value, "enqueued_at": b"\xff"})
    assert [claimed.id for claimed in world.claim()] == ["j", "k"]
    assert world.read("j").id == "j"


@pytest.mark.parametrize("job_id", [b"with:colon", b"with space", "é".encode()])
def test_foreign_ids(world: World, job_id: bytes) -> None:
    """An id that RQ would refuse today (older clients made them) is claimed, rescued and finished all the same."""
    world.redis.hset(b"rq:job:" + job_id, mapping={"status": "queued", "data": b"[]", "origin": "a"})
    world.redis.rpush("rq:queue:a", job_id)
    world.claim_one()
    world.pass_time(31)
    assert world.rescue() == (1, 0, 0)
    world.finish(world.claim_one())
    assert world.redis.hget(b"rq:job:" + job_id, "status") == b"finished"
    assert not world.redis.exists("rq:jk:lease:a", "rq:wip:a")


def test_id_that_is_no_text(world: World) -> None:
    """A job whose id is no text hurts no neighbour, and is poison in the end."""
    world.redis.hset(b"rq:job:\xff", mapping={"status": "queued", "data": b"[]", "origin": "a"})
    world.redis.rpush("rq:queue:a", b"\xff")
    world.enqueue("j")
    for _ in range(4):
        claimed = world.claim()
        assert claimed[0].id == "\\xff"
        world.finish(*claimed)
        world.pass_time(31)
        world.rescue()
    assert world.state("j") == "finished"
    assert world.redis.hget(b"rq:job:\xff", "status") == b"failed"
    assert world.claim() == []


def test_wait(world: World) -> None:
    """An empty claim says when the next job of the wanted queues falls due; nothing known is None."""
    assert world.channel.claim({"a": 1}, block=0).wait is None
    world.enqueue(world.new("x", delay_ms=60_000), world.new("y", queue="b", delay_ms=5000))
    wait = world.channel.claim({"a": 1}, block=0).wait
    assert wait is not None
    assert 55 < wait <= 60
    wait = world.channel.claim({"a": 1, "b": 1}, block=0).wait
    assert wait is not None
    assert 1 < wait <= 5


def test_due_jobs_are_promoted(world: World) -> None:
    """A claim promotes what fell due, behind what waits already, in the order of the due times."""
    world.enqueue(world.new("later", delay_ms=2000), world.new("soon", delay_ms=1000), world.new("now"))
    world.pass_time(3)
    assert [claimed.id for claimed in world.claim()] == ["now", "soon", "later"]
    assert world.all_keys().isdisjoint({"rq:scheduled:a", "rq:queue:a"})


def test_claim_promotes_two_hundred(world: World) -> None:
    """One claim promotes 200 jobs; the next one goes on."""
    world.enqueue(*(world.new(f"j{i}", delay_ms=1000) for i in range(450)))
    world.pass_time(2)
    assert world.claim(1)
    assert len(world.waiting()) == 199
    assert world.redis.exists("rq:jk:bell:a")
    assert [len(world.claim(500)) for _ in range(3)] == [399, 50, 0]


def test_scheduled_key_that_is_no_hash(world: World) -> None:
    """A scheduled job whose key holds something else is quarantined when it falls due, not lost."""
    world.enqueue(world.new("j", delay_ms=1000))
    world.redis.delete("rq:job:j")
    world.redis.set("rq:job:j", "bytes")
    world.pass_time(2)
    assert (world.claim_one().data, world.redis.get("rq:jk:corrupt:j")) == (b"", b"bytes")


def test_bell_is_put_back(world: World) -> None:
    """A claim that leaves work rings the bell for others; one that takes all leaves it."""
    world.enqueue("x", "y")
    assert world.channel.claim({"a": 1}, block=1).claimed
    assert world.redis.llen("rq:jk:bell:a") == 1
    assert world.channel.claim({"a": 1}, block=1).claimed
    assert not world.redis.exists("rq:jk:bell:a")


def test_bell_wakes(world: World) -> None:
    """A claim that waits is woken by an enqueue of another client."""
    waiting = threading.Thread(target=lambda: woken.extend(world.channel.claim({"a": 1}, block=4).claimed))
    woken: list[object] = []
    waiting.start()
    blocked(world)
    world.enqueue("j")
    waiting.join(5)
    assert len(woken) == 1


def test_bells_of_unwanted_queues_are_left(world: World) -> None:
    """A queue whose slots are full does not wake its worker; its bell stays for others."""
    world.enqueue(world.new("j", queue="b"))
    assert world.channel.claim({"a": 1, "b": 0}, block=0.02).claimed == []
    assert world.redis.exists("rq:jk:bell:b")


def test_interrupt(world: World) -> None:
    """A claim that waits is woken from another thread, and answers as an empty one."""
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(world.channel.claim({"a": 1}, block=4)))
    waiting.start()
    blocked(world)
    world.channel.interrupt()
    waiting.join(5)
    assert not waiting.is_alive()
    assert [answer.claimed for answer in answers] == [[]]


def test_two_claimers_share(world: World) -> None:
    """Two workers never get the same job."""
    world.enqueue(*(f"j{i}" for i in range(40)))
    other = world.other_claims.channel("c")
    mine, theirs = set(), set()
    for _ in range(5):
        mine |= {claimed.id for claimed in world.claim(4)}
        theirs |= {claimed.id for claimed in other.claim({"a": 4}, block=0).claimed}
    other.close()
    assert len(mine) == len(theirs) == 20
    assert mine.isdisjoint(theirs)


def blocked(world: World) -> None:
    """Wait until somebody waits on a bell."""
    while not world.redis.info("clients")["blocked_clients"]:
        pass
