"""fail, snooze, end, put_back: how an attempt ends without a finish."""

import pytest

from jobkit.store.presence import Presence
from jobkit.store.records import QueueRules
from tests.store.world import World


def test_retry_at_once(world: World) -> None:
    """A failure without a wait goes to the end of the queue, with its count, error and result."""
    world.enqueue("j", "k")
    (claimed,) = world.claim(1)
    assert world.fail(claimed, delay=0, error="Traceback\n  File x\nValueError: no such thing")
    assert world.waiting() == ["k", "j"]
    job = world.read("j")
    assert (job.state, job.failed, job.error) == ("queued", 1, "ValueError: no such thing")
    assert world.redis.exists("rq:jk:bell:a")
    assert world.claim()[1].failed == 1
    assert world.kinds("j") == [4]


def test_retry_later(world: World) -> None:
    """A failure with a wait is scheduled, and wakes who sleeps on a later due time."""
    claimed = world.started()
    world.redis.delete("rq:jk:bell:a")
    assert world.fail(claimed, delay=30)
    assert world.state("j") == "scheduled"
    assert world.redis.exists("rq:jk:bell:a")
    assert world.claim() == []
    world.pass_time(31)
    assert world.claim_one().failed == 1


def test_dead_letter(world: World) -> None:
    """A failure without a retry joins the dead letters, without a time to live."""
    Presence(world.store, "w1", ["a"]).birth()
    assert world.fail(world.started())
    assert world.state("j") == "failed"
    assert world.members("rq:failed:a") == world.members("rq:jk:dead:a") == {"j"}
    assert world.redis.ttl("rq:job:j") == -1
    assert world.kinds("j") == [2]
    assert world.redis.hget("rq:worker:w1", "failed_job_count") == b"1"


def test_uncounted(world: World) -> None:
    """An attempt may fail without using an attempt."""
    world.claims.fail(world.started(), error="x", delay=0, started=1, ended=2, counts=False)
    assert world.claim_one().failed == 0


@pytest.mark.parametrize("error", ["", "\n", "one line", "caf\udce9.txt: no such file", "x" * 100_000])
def test_any_error_text(world: World, error: str) -> None:
    """Any error text ends the attempt: none, huge, or with half a surrogate pair."""
    assert world.fail(world.started(), error=error)
    assert world.state("j") == "failed"
    assert len(world.read("j").error or "") <= 300


@pytest.mark.parametrize("text", ["because", "caf\udce9", ""])
def test_any_reason(world: World, text: str) -> None:
    """Any reason is kept, for a snooze, an end and a cancel."""
    assert world.claims.snooze(world.started("x"), delay=5, reason=text)
    assert world.end(world.started("y"), reason=text)
    assert world.claims.progress(world.started("z"), 1, text)
    kept = text.encode(errors="backslashreplace").decode() or None
    assert world.read("x").reason == world.read("y").reason == kept


def test_dead_letters_by_count(world: World) -> None:
    """Dead letters are kept by the queue's count, the newest, with no key of the others."""
    world.rules["a"] = QueueRules(keep_done=9, keep_dead=2)
    for i in range(4):
        world.fail(world.started(f"j{i}"))
    assert world.members("rq:failed:a") == world.members("rq:jk:dead:a") == {"j2", "j3"}
    assert {key for key in world.all_keys() if "j0" in key or "j1" in key} == set()


def test_snooze(world: World) -> None:
    """A snooze waits without using an attempt and leaves no result; it says why."""
    assert world.claims.snooze(world.started(), delay=10, reason="not yet")
    job = world.read("j")
    assert (job.state, job.reason, job.failed) == ("scheduled", "not yet", 0)
    assert job.due_at is not None
    assert world.kinds("j") == []
    world.pass_time(11)
    assert world.claim_one().failed == 0


def test_parking(world: World) -> None:
    """A parked job keeps the time of its first parking in a row; anything else ends the row."""
    world.enqueue("j")
    start = world.now_ms()
    for _ in range(3):
        claimed = world.claim_one()
        assert world.claims.snooze(claimed, delay=10, reason="unknown name", parked=True)
        world.pass_time(11)
    parked = world.claim_one()
    assert start <= parked.parked_ms < start + 5000
    world.claims.snooze(parked, delay=0, reason="busy")
    world.pass_time(1)
    assert world.claim_one().parked_ms == 0


@pytest.mark.parametrize(
    ("state", "registry", "rank"), [("canceled", "canceled", "gone"), ("stopped", "failed", "dead")]
)
def test_end(world: World, state: str, registry: str, rank: str) -> None:
    """A closed job is where RQ lists its state, has a rank for retention, and its reason."""
    assert world.end(world.started(), state, "said so")
    assert (world.state("j"), world.read("j").reason) == (state, "said so")
    assert world.members(f"rq:{registry}:a") == world.members(f"rq:jk:{rank}:a") == {"j"}
    assert world.kinds("j") == [3]


def endings(world: World) -> dict[str, object]:
    """Each way to end an attempt, as a call that answers whether it was recorded."""
    return {
        "fail": lambda claimed: world.fail(claimed, delay=0),
        "dead": world.fail,
        "later": lambda claimed: world.fail(claimed, delay=9),
        "snooze": lambda claimed: world.claims.snooze(claimed, delay=9, reason="x"),
        "cancel": world.end,
        "stop": lambda claimed: world.end(claimed, "stopped"),
        "put_back": lambda claimed: not world.claims.put_back([claimed]),
        "finish": lambda claimed: not world.finish(claimed).lost,
    }


ENDINGS = ["fail", "dead", "later", "snooze", "cancel", "stop", "put_back", "finish"]


@pytest.mark.parametrize("name", ENDINGS)
def test_repeated(world: World, name: str) -> None:
    """An ending whose reply was lost may be repeated: it answers as it did and changes nothing more."""
    claimed = world.started()
    end = endings(world)[name]
    assert end(claimed)
    before = {key: world.redis.dump(key) for key in world.all_keys() if key != "rq:jk:clock"}
    assert end(claimed)
    assert {key: world.redis.dump(key) for key in world.all_keys() if key != "rq:jk:clock"} == before


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("why", ["rescued", "canceled", "no lease", "no hash"])
def test_fence(world: World, name: str, why: str) -> None:
    """No ending of an attempt that lost its claim is recorded."""
    claimed = world.started()
    if why == "rescued":
        world.pass_time(31)
        world.rescue()
    elif why == "canceled":
        world.cancel("j")
    elif why == "no lease":
        world.redis.delete("rq:jk:lease:a")
    else:
        world.redis.delete("rq:job:j")
    before = {key: world.redis.dump(key) for key in ("rq:job:j", "rq:queue:a", "rq:scheduled:a", "rq:results:j")}
    assert not endings(world)[name](claimed)
    assert {key: world.redis.dump(key) for key in before} == before


@pytest.mark.parametrize("name", ENDINGS)
def test_all_is_released(world: World, name: str) -> None:
    """Every ending gives up lease, wip member and execution keys."""
    claimed = world.started()
    world.claims.renew([claimed])
    assert endings(world)[name](claimed)
    assert world.all_keys().isdisjoint(
        {
            "rq:jk:lease:a",
            "rq:wip:a",
            "rq:executions:j",
            f"rq:execution:j:{claimed.token}",
            "rq:worker:w1:executions",
        }
    )
    hash_ = world.hash("j")
    assert "jk_exec" not in hash_
    # A finish leaves the token: without its lease it owns nothing.
    assert "jk_token" not in hash_ or (name, hash_["jk_token"]) == ("finish", claimed.token)


def test_put_back_keeps_order(world: World) -> None:
    """What is put back is at the front again, in its old order, with no attempt used and no result."""
    world.enqueue("x", "y", "z")
    claimed = world.claim(2)
    assert world.claims.put_back(claimed) == []
    assert world.waiting() == ["x", "y", "z"]
    assert world.redis.exists("rq:jk:bell:a")
    job = world.read("x")
    assert (job.state, job.failed, job.worker, job.started_at) == ("queued", 0, None, None)
    assert world.kinds("x") == []


def test_put_back_of_many(world: World) -> None:
    """More than one script's batch is put back in order too, over several queues."""
    world.enqueue(*(f"a{i:03}" for i in range(250)))
    world.enqueue(*(world.new(f"b{i:03}", queue="b") for i in range(250)))
    claimed = world.channel.claim({"a": 250, "b": 250}, block=0).claimed
    world.cancel("a100")
    assert len(world.claims.put_back(claimed)) == 1
    assert world.waiting() == [f"a{i:03}" for i in range(250) if i != 100]
    assert world.waiting("b") == [f"b{i:03}" for i in range(250)]


def test_steps_and_progress(world: World) -> None:
    """Steps stay for later attempts of the job, and go with its finish; progress is the owner's."""
    claimed = world.started()
    assert world.claims.load_steps(claimed) == {}
    assert world.claims.save_step(claimed, "ocr", b'"text"')
    assert world.claims.progress(claimed, 20, "downloaded")
    assert world.read("j").progress == (20.0, "downloaded")
    world.fail(claimed, delay=0)
    assert not world.claims.save_step(claimed, "late", b"1")
    assert not world.claims.progress(claimed, 99, "late")
    again = world.claim_one()
    assert world.claims.load_steps(again) == {"ocr": b'"text"'}
    world.finish(again)
    assert world.claims.load_steps(again) == {}
