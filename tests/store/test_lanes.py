"""Turns, priorities and order in lanes; what RQ's tools do there; how a queue comes to lanes and leaves them."""

from collections.abc import Iterator

import pytest
import rq
from click.testing import CliRunner
from rq.cli import main as rq_cli
from rq.job import Job
from rq.registry import DeferredJobRegistry, clean_registries

from tests.store.lanes import Line
from tests.store.world import World


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    """Give lanes on an empty server, once of each kind."""
    made = Line(world)
    yield made
    made.check()


# --- turns


def test_a_new_key_waits_one_round_at_most(line: Line) -> None:
    """A thousand jobs of one key and some of others delay the first job of another by one job each."""
    line.world.enqueue(*(line.new(f"big{n}", fair="big") for n in range(500)))
    line.world.enqueue(*(line.new(f"big{n}", fair="big") for n in range(500, 1000)))
    for n in range(50):
        line.put(f"m{n}", fair=f"m{n % 5}")
    for _ in range(20):
        line.claim(1)
    line.put("new", fair="zzz")
    seen = [line.claim(1)[0] for _ in range(8)]
    assert "new" in seen[:7]
    assert line.claim(3) != []


def test_keys_that_come_later_do_not_go_before(line: Line) -> None:
    """New keys without end keep no key from its turn, whatever they are called."""
    line.put("z", fair="z")
    line.put("z2", fair="z")
    seen = []
    for n in range(6):
        for m in range(3):
            line.put(f"a{n}-{m}", fair=f"a{n}-{m}")
        seen += line.claim(1)
    assert seen[0] == "z"
    seen += [line.claim(1)[0] for _ in range(14)]
    assert "z2" in seen


def test_weights(line: Line) -> None:
    """A key with the weight three has three turns of another's one; one with a thousandth has next to none."""
    line.rule(weights={"big": 3, "small": 0.001})
    for fair in ("big", "one", "small"):
        line.world.enqueue(*(line.new(f"{fair}-{n}", fair=fair) for n in range(300)))
    seen = [line.claim(1)[0].split("-")[0] for _ in range(202)]
    assert seen.count("small") == 1
    assert seen.count("big") == pytest.approx(150, abs=3)
    assert seen.count("one") == pytest.approx(50, abs=3)


def test_who_was_away_gains_nothing(line: Line) -> None:
    """A key that always has one job gets no more turns than one that has many."""
    line.world.enqueue(*(line.new(f"many{n}", fair="many") for n in range(100)))
    seen = []
    line.put("one0", fair="a-one")
    for n in range(40):
        (claimed,) = line.claim(1)
        seen.append(claimed)
        if claimed.startswith("one"):
            line.put(f"one{n + 1}", fair="a-one")
    assert sum(each.startswith("one") for each in seen) <= 21


def test_a_light_key_keeps_its_turn_when_it_leaves(line: Line) -> None:
    """A key of little weight that comes and goes goes no more often for that."""
    line.rule(weights={"light": 0.01})
    line.world.enqueue(*(line.new(f"many{n}", fair="many") for n in range(150)))
    seen = []
    line.put("light0", fair="light")
    for n in range(100):
        claims = line.claims(1)
        seen += [each.id for each in claims]
        if claims[0].id.startswith("light"):
            line.put(f"light{n + 1}", fair="light")
    assert sum(each.startswith("light") for each in seen) <= 2


def test_the_empty_key_is_one_as_others(line: Line) -> None:
    """Jobs whose key is empty take their turns beside others."""
    for n in range(3):
        line.put(f"e{n}", fair="")
    for n in range(3):
        line.put(f"x{n}", fair="x")
    assert line.claim(4) == ["e0", "x0", "e1", "x1"]
    assert line.claim() == ["e2", "x2"]


# --- order


def test_first_come_first_served(line: Line) -> None:
    """In a lane jobs go in the order of their enqueue, within a bulk, and between calls of the same millisecond."""
    ids = [f"j{n:03}" for n in range(400)]
    line.world.enqueue(*(line.new(each, "mutex=m", fair="x") for each in ids[:150]))
    for each in ids[150:250]:
        line.put(each, "mutex=m", fair="x")
    line.world.enqueue(*(line.new(each, "mutex=m", fair="x") for each in ids[250:]))
    seen = []
    while claims := line.claims(5):
        seen += [each.id for each in claims]
        line.finish(*claims)
    assert seen == ids


def test_first_come_first_served_by_the_servers_clock(world: World) -> None:
    """The same while the server's clock goes on by itself."""
    line = Line(world)
    world.redis.delete("rq:jk:clock")
    ids = [f"j{n:03}" for n in range(300)]
    line.world.enqueue(*(line.new(each) for each in ids[:100]))
    for each in ids[100:200]:
        line.put(each)
    line.world.enqueue(*(line.new(each) for each in ids[200:]))
    assert line.claim(300) == ids


def test_retried_and_rescued_jobs_keep_their_place(line: Line) -> None:
    """A job that comes again goes before those that were enqueued after it."""
    for n in range(6):
        line.put(f"j{n}")
    first, second, third = line.claims(3)
    line.world.fail(first, delay=0)
    line.world.claims.put_back([second])
    line.world.pass_time(31)
    line.world.claims.renew([])
    assert line.world.rescue()[0] == 1
    assert line.claim() == ["j0", "j1", third.id, "j3", "j4", "j5"]


def test_jobs_that_fall_due_go_by_their_due_time(line: Line) -> None:
    """A scheduled job enters its lane when it is due, behind those that were there and before those that come."""
    line.put("late", delay_ms=5000)
    line.put("later", delay_ms=9000)
    line.put("early")
    assert line.world.state("late") == "scheduled"
    line.world.pass_time(6)
    line.put("after")
    assert line.claim() == ["early", "late", "after"]
    assert line.wait() == pytest.approx(3.0, abs=0.01)


def test_a_scheduled_job_brought_forward_goes_now(line: Line) -> None:
    """A job that an operator brings forward does not wait behind those that come until it would have been due."""
    line.put("j", delay_ms=50_000)
    assert line.world.retry("j") == "queued"
    line.world.pass_time(1)
    line.put("k")
    assert line.claim(1) == ["j"]


def test_priorities(line: Line) -> None:
    """A job goes before those of the next lower priority that came up to the ageing before it, and no others."""
    ageing = 10_000
    line.put("low", boost=-ageing)
    line.put("normal")
    line.put("high", boost=ageing)
    line.world.pass_time(9)
    line.put("normal-9")
    line.put("high-9", boost=ageing)
    line.world.pass_time(2)
    line.put("normal-11")
    line.put("high-11", boost=ageing)
    assert line.claim() == ["high", "high-9", "normal", "high-11", "normal-9", "low", "normal-11"]


def test_the_bound_of_a_low_jobs_wait(line: Line) -> None:
    """High jobs without end delay a low one by two ageings and no longer."""
    line.put("low", boost=-1000)
    begun = line.world.now_ms()
    for n in range(50):
        line.put(f"h{n}", boost=1000)
        line.world.pass_time(0.1)
        if "low" in line.claim(1):
            break
    assert 1900 <= line.world.now_ms() - begun <= 2200


# --- follow-ups, many lanes


@pytest.mark.parametrize("many", [3, 450])
def test_follow_ups_go_into_lanes(line: Line, many: int) -> None:
    """Follow-ups wait in their lanes, also those that one script may not write."""
    claimed = line.world.started("parent")
    ups = tuple(line.new(f"f{n:03}", "mutex=m" if n % 2 else "mutex=k", fair=str(n % 3)) for n in range(many))
    line.world.finish(claimed, follow_ups=ups)
    seen = set()
    for _ in range(2 * many):
        claims = line.claims(10)
        seen |= {each.id for each in claims}
        line.finish(*claims)
        if len(seen) == many:
            break
    assert len(seen) == many
    line.claim()
    line.sweep()
    assert line.left() == set()


def test_five_hundred_blocked_lanes_hide_none(line: Line) -> None:
    """A claim looks at so many lanes and no more; the bell sees to it that the free one behind them is found."""
    line.rule(keyed={"run/t": [1]})
    line.put("holder", "run/t=1")
    line.claim()
    line.world.enqueue(*(line.new(f"j{n}", "run/t=1", f"mutex={n}", fair=f"f{n:03}") for n in range(499)))
    line.put("free", fair="zzz")
    line.rung()
    line.world.redis.rpush("rq:jk:bell:a", "1")
    rounds, found = 0, []
    while line.rung():
        rounds += 1
        found += line.claim(1)
        line.check()
        assert rounds < 20
    assert found == ["free"]
    assert line.world.redis.hlen("rq:jk:blocked_by:a") == 499


def test_blocked_lanes_drain_one_by_one(line: Line) -> None:
    """Lanes that wait for one place get it one after the other, none is lost, and all is empty in the end."""
    line.rule(keyed={"run/t": [3]})
    line.world.enqueue(*(line.new(f"j{n}", "run/t=1", f"mutex={n % 40}", fair=f"f{n % 7}") for n in range(200)))
    claims, seen = line.claims(10), []
    while claims:
        assert len(claims) <= 3
        seen += [each.id for each in claims]
        line.check()
        line.finish(*claims)
        claims = line.claims(10)
    assert len(set(seen)) == len(seen) == 200
    line.sweep()
    assert line.left() == set()


# --- plain and laned


def test_a_backlog_of_before(line: Line) -> None:
    """Jobs that were enqueued before their queue got lanes go first, and by the limits of the whole queue."""
    line.world.enqueue(*(f"old{n}" for n in range(5)))
    line.rule(run=3)
    line.put("new", fair="x")
    first = line.claims()
    assert [each.id for each in first] == ["old0", "old1", "old2"]
    assert line.finish(*first, want={"a": 9}) == ["old3", "old4", "new"]


def test_a_queue_that_has_lanes_no_more(line: Line) -> None:
    """Jobs in lanes still run, by their mutexes alone, when their queue's rules are gone."""
    line.rule(keyed={"run/t": [1]})
    line.put("j1", "run/t=1", "mutex=x")
    line.put("j2", "run/t=1", "mutex=y")
    line.put("j3", "run/t=1", "mutex=y")
    line.claim()
    assert line.claim() == []
    line.world.sweeps.enforce({"a": ""}, 0)
    line.world.enqueue("plain")
    line.sweep()
    assert line.claim() == ["plain", "j2"]


# --- RQ's tools


def fetch(world: World, job_id: str) -> Job:
    """Fetch a job as RQ does."""
    return Job.fetch(job_id, connection=world.redis, serializer="json")


def test_rq_lists_them_as_deferred(line: Line) -> None:
    """RQ's tools list a job that waits in a lane as deferred; to jobkit it is queued; cleaning changes nothing."""
    line.put("j", fair="x")
    registry = DeferredJobRegistry("a", connection=line.world.redis, serializer="json")
    assert registry.get_job_ids() == ["j"]
    assert registry.count == 1
    registry.cleanup()
    clean_registries(rq.Queue("a", connection=line.world.redis, serializer="json"))
    assert fetch(line.world, "j").get_status() == "deferred"
    done = CliRunner().invoke(rq_cli, ["info", "--url", line.world.url])
    assert done.exit_code == 0
    assert line.world.state("j") == "queued"
    assert line.world.retry("j") == "waiting"
    assert line.claim() == ["j"]
    assert registry.get_job_ids() == []


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("how", ["cancel", "delete", "ours"])
def test_cancel_and_delete_while_it_waits(line: Line, how: str, *, blocked: bool) -> None:
    """A job in a lane that is canceled or deleted never runs, and leaves nothing in the way of others."""
    line.put("holder", "mutex=m")
    (holder,) = line.claims()
    line.put("j", "mutex=m")
    line.put("k", "mutex=m")
    if blocked:
        assert line.claim() == []
    if how == "ours":
        assert line.world.cancel("j") == "canceled"
    else:
        getattr(fetch(line.world, "j"), how)()
    line.check()
    line.finish(holder)
    last = line.claims()
    assert [each.id for each in last] == ["k"]
    line.finish(*last)
    line.claim()
    line.sweep()
    assert line.left() == set()
    assert not line.world.redis.exists("rq:deferred:a")


def test_canceled_and_retried_while_in_a_lane(line: Line) -> None:
    """A job that RQ canceled in its lane and jobkit retried runs once, at its old place."""
    line.put("j")
    line.put("k")
    fetch(line.world, "j").cancel()
    assert line.world.retry("j") == "queued"
    assert line.claim() == ["j", "k"]
    assert line.claim() == []
    assert line.left() == set()


def test_requeue_by_rq(line: Line) -> None:
    """A dead letter that RQ requeues goes back into its lane and obeys its limits."""
    line.put("j", "mutex=m")
    (first,) = line.claims()
    line.world.fail(first)
    line.put("k", "mutex=m")
    (second,) = line.claims()
    fetch(line.world, "j").requeue()
    assert line.claim() == []
    line.finish(second)
    assert line.claim() == ["j"]


def test_rq_empty_leaves_lanes(line: Line) -> None:
    """`rq empty` takes what the list holds; jobs in lanes stay."""
    line.put("j")
    line.world.enqueue("plain")
    done = CliRunner().invoke(rq_cli, ["empty", "--url", line.world.url, "a", "--serializer", "json"])
    assert done.exit_code == 0, done.output
    assert line.claim() == ["j"]


def test_a_plain_worker_does_not_run_them(line: Line, handlers_put_back: None) -> None:
    """A vanilla worker finds nothing to do in a lane."""
    line.put("j")
    queue = rq.Queue("a", connection=line.world.redis, serializer="json")
    worker = rq.SimpleWorker([queue], connection=line.world.redis, serializer="json")
    assert not worker.work(burst=True)
    assert line.claim() == ["j"]


def test_the_same_id_in_list_and_lane(line: Line) -> None:
    """An id that somebody pushed to the list beside its lane runs once."""
    line.put("j")
    line.world.redis.rpush("rq:queue:a", "j", "j")
    assert line.claim() == ["j"]
    assert line.claim() == []


def test_a_suspect_put_off_keeps_its_lane(line: Line) -> None:
    """A job that lost its worker and is put off behind another suspect comes back to its lane when it is due."""
    line.put("j", "mutex=m")
    line.put("k", "mutex=m")
    line.claim(1)
    line.world.pass_time(31)
    assert line.world.rescue()[0] == 1
    (suspect,) = line.claims(1)
    assert (suspect.id, suspect.rescues) == ("j", 1)
    line.world.claims.snooze(suspect, delay=1, reason="another suspect runs")
    (other,) = line.claims()
    assert other.id == "k"
    line.world.pass_time(1)
    assert line.claim() == []
    assert line.finish(other, want={"a": 1}) == ["j"]


def test_a_job_in_a_lane_that_is_no_hash_any_more(line: Line) -> None:
    """A job whose key holds something else when its turn comes goes the way to the dead letters, and blocks nobody."""
    line.put("broken", "mutex=m")
    line.put("next", "mutex=m")
    line.world.redis.set("rq:job:broken", "bytes")
    (following,) = line.claims()
    assert following.id == "next"
    assert line.rung()
    (corrupt,) = line.claims()
    assert (corrupt.id, corrupt.data) == ("broken", b"")
    assert line.world.fail(corrupt, None)
    line.finish(following)
    assert line.left() == set()


def test_a_lane_that_somebody_else_wrote(line: Line) -> None:
    """A job whose lane cannot be read runs without one."""
    line.world.enqueue("j")
    line.world.redis.hset("rq:job:j", "jk_lane", "nonsense")
    assert line.claim() == ["j"]
