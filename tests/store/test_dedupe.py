"""Dedupe: a key binds one job, decided in the step that writes it, and binds nobody once that job has ended."""

import json
import threading
from collections.abc import Callable

import attrs
import pytest
from rq.job import Job

from jobkit.errors import LostClaim, StoreFull
from jobkit.store import Store, operations
from jobkit.store.codec import pack_data
from jobkit.store.records import NewJob
from tests.store.test_full_server import full
from tests.store.world import World

KEY = "rq:jk:dedupe:a:k"
DAY_MS = 86_400_000


def keyed(world: World, job_id: str, mode: str = "reject", within: float | None = None, **options: object) -> NewJob:
    """A new job with a dedupe key."""
    flow = {"d": {"k": options.pop("key", "k"), "m": mode} | ({} if within is None else {"w": round(within * 1000)})}
    lane = options.pop("lane", None)
    if lane is not None:
        flow |= {"l": lane, "b": 0}
    return world.new(job_id, flow=json.dumps(flow).encode(), **options)


def with_payload(job: NewJob, n: int) -> NewJob:
    """The job with this payload."""
    return attrs.evolve(job, data=pack_data("acme.work", 1, b'{"n":%d}' % n))


ENDINGS: dict[str, Callable[[World], object]] = {
    "finished": lambda world: world.finish(world.claim_one()),
    "failed": lambda world: world.fail(world.claim_one()),
    "stopped": lambda world: world.end(world.claim_one(), "stopped"),
    "canceled": lambda world: world.cancel("x"),
    "deleted by RQ": lambda world: Job.fetch("x", connection=world.redis, serializer="json").delete(),
    "deleted by anybody": lambda world: world.redis.delete("rq:job:x"),
    "no job any more": lambda world: world.redis.set("rq:job:x", "no hash"),
}
LIVES: dict[str, Callable[[World], object]] = {
    "started": lambda world: world.claim_one(),
    "to be retried": lambda world: world.fail(world.claim_one(), delay=60),
    "snoozed": lambda world: world.claims.snooze(world.claim_one(), delay=60, reason="x"),
    "put back": lambda world: world.claims.put_back([world.claim_one()]),
    "a new life": lambda world: (world.cancel("x"), world.retry("x")),
}


def test_reject(world: World) -> None:
    """Of one key one job waits: another is not written, and the answer is the id of the one that is."""
    assert world.enqueue(keyed(world, "x")) == [True]
    before = world.all_keys()
    assert world.enqueue(keyed(world, "y"), keyed(world, "z", key="other")) == ["x", True]
    assert world.enqueue(keyed(world, "y", delay_ms=5000)) == ["x"]
    assert world.waiting() == ["x", "z"]
    assert world.all_keys() == before | {"rq:job:z", "rq:jk:dedupe:a:other"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_reject_until_the_end(world: World, ending: str) -> None:
    """A job that ended, or is gone, however that came, binds nobody: the next one takes the key."""
    world.enqueue(keyed(world, "x"))
    ENDINGS[ending](world)
    assert world.enqueue(keyed(world, "y"), keyed(world, "z")) == [True, "y"]


@pytest.mark.parametrize("life", LIVES)
def test_reject_while_it_lives(world: World, life: str) -> None:
    """A job that runs, waits for its next attempt or was given a new life binds its key."""
    world.enqueue(keyed(world, "x"))
    LIVES[life](world)
    assert world.enqueue(keyed(world, "y")) == ["x"]


def test_a_queue_has_keys_of_its_own(world: World) -> None:
    """The same key in another queue is another key."""
    jobs = [keyed(world, "x"), keyed(world, "y", queue="b"), keyed(world, "z", queue="b")]
    assert world.enqueue(*jobs) == [True, True, "y"]


def test_another_job_of_the_same_id(world: World) -> None:
    """A job that came to the bound one's id later, for something else, is not taken for it."""
    world.enqueue(keyed(world, "x"), keyed(world, "d", "debounce", 60, key="other"))
    world.redis.delete("rq:job:x", "rq:job:d")
    world.enqueue(world.new("x"), world.new("d", delay_ms=5000))
    before = world.hash("d")
    assert world.enqueue(keyed(world, "y"), keyed(world, "e", "debounce", 60, key="other")) == [True, True]
    assert world.hash("d") == before
    world.redis.delete("rq:job:y")
    world.enqueue(keyed(world, "y", queue="b"))
    assert world.enqueue(keyed(world, "z")) == [True]


def test_many_of_one_key_in_a_call(world: World) -> None:
    """Of 500 jobs of one key in one call one is created, and all answer its id."""
    assert world.enqueue(*(keyed(world, f"x{i}") for i in range(500))) == [True, *["x0"] * 499]
    assert world.waiting() == ["x0"]


def test_clients_that_race(world: World) -> None:
    """Of clients that enqueue one key at the same moment one wins, and all are told who."""
    start, answers = threading.Barrier(4), []

    def enqueue(name: str) -> None:
        store = Store.open(world.url)
        start.wait(10)
        for i in range(50):
            job = keyed(world, f"{name}{i}", key=str(i))
            answers.append((i, *operations.standing_ids([job], store.run(operations.enqueue(store.keys, [job])))))
        store.close()

    threads = [threading.Thread(target=enqueue, args=(name,)) for name in "wxyz"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(answers) == 200
    assert sorted(job_id for _, job_id in set(answers)) == sorted(world.waiting())
    assert len(world.waiting()) == 50


def test_throttle(world: World) -> None:
    """One job a window: within it the first one's id is the answer, also when it has ended or is gone."""
    assert world.enqueue(keyed(world, "x", "throttle", 60)) == [True]
    world.pass_time(30)
    world.finish(world.claim_one())
    assert world.enqueue(keyed(world, "y", "throttle", 60)) == ["x"]
    world.redis.delete("rq:job:x")
    world.pass_time(29)
    assert world.enqueue(keyed(world, "y", "throttle", 60)) == ["x"]
    world.pass_time(1)
    assert world.enqueue(keyed(world, "y", "throttle", 60), keyed(world, "z", "throttle", 60)) == [True, "y"]
    assert world.waiting() == ["y"]


def test_throttle_of_what_still_waits(world: World) -> None:
    """The window counts from the enqueue: after it the next job is written, though the first has not run."""
    world.enqueue(keyed(world, "x", "throttle", 60))
    world.pass_time(61)
    assert world.enqueue(keyed(world, "y", "throttle", 60)) == [True]
    assert world.waiting() == ["x", "y"]


def test_debounce(world: World) -> None:
    """The job waits for the last enqueue's sake, and carries what came last."""
    start = world.now_ms()
    world.pass_time(0)
    first = keyed(world, "x", "debounce", 60, timeout=1.5)
    assert world.enqueue(first) == [True]
    world.pass_time(40)
    last = attrs.evolve(with_payload(keyed(world, "y", "debounce", 60, timeout=7), 2), extra=b'{"a":9,"b":["code"]}')
    assert world.enqueue(last) == ["x"]
    job = world.read("x")
    assert (job.state, job.timeout, job.attempts, dict(job.tags)) == ("scheduled", 7, 9, {})
    assert world.redis.zscore("rq:scheduled:a", "x") * 1000 == pytest.approx(start + 100_000, abs=2000)
    assert world.enqueue(keyed(world, "y", "debounce", 60, timeout=2.5)) == ["x"]
    assert world.read("x").timeout == 2.5
    world.enqueue(last)
    world.pass_time(59)
    assert world.claim() == []
    world.pass_time(1)
    (claimed,) = world.claim()
    assert (claimed.id, claimed.data, claimed.extra, claimed.timeout) == ("x", last.data, last.extra, 7)
    assert world.state("y") == "missing"


MET: dict[str, Callable[[World], object]] = {
    "promoted": lambda world: world.sweeps.promote("a"),
    "started": lambda world: world.claim_one(),
    "to be retried": lambda world: world.fail(world.claim_one(), delay=600),
    "brought forward": lambda world: world.retry("x"),
    "canceled": lambda world: world.cancel("x"),
    "deleted": lambda world: world.redis.delete("rq:job:x"),
}


@pytest.mark.parametrize("met", MET)
def test_debounce_anew(world: World, met: str) -> None:
    """Once the job has been queued, or ended, it is changed no more: the next enqueue is another job, that waits."""
    world.enqueue(keyed(world, "x", "debounce", 60))
    world.pass_time(61)
    MET[met](world)
    before = world.hash("x")
    assert world.enqueue(keyed(world, "y", "debounce", 60), keyed(world, "z", "debounce", 60)) == [True, "y"]
    assert world.hash("x") == before
    assert world.state("y") == "scheduled"


def test_debounce_of_what_nobody_promoted(world: World) -> None:
    """A job that is due, and that no worker has looked at, is still put off."""
    world.enqueue(keyed(world, "x", "debounce", 60))
    world.pass_time(3600)
    assert world.enqueue(keyed(world, "y", "debounce", 60)) == ["x"]
    assert world.sweeps.promote("a") == 0


def test_debounce_rings_for_an_earlier_time(world: World) -> None:
    """Who sleeps until the due time learns of an earlier one, and is left alone for a later one."""
    world.enqueue(keyed(world, "x", "debounce", 60))
    world.redis.delete("rq:jk:bell:a")
    world.enqueue(keyed(world, "y", "debounce", 90))
    assert not world.redis.exists("rq:jk:bell:a")
    world.enqueue(keyed(world, "y", "debounce", 30))
    assert world.redis.exists("rq:jk:bell:a")


def test_in_lanes(world: World) -> None:
    """A job that waits in a lane binds its key; a debounced one waits in the lane of what came last."""
    world.enqueue(keyed(world, "x", lane="t_1"), keyed(world, "d", "debounce", 60, key="wait", lane="t_1"))
    assert world.enqueue(keyed(world, "y", lane="t_2")) == ["x"]
    assert world.enqueue(keyed(world, "e", "debounce", 60, key="wait", lane="t_2")) == ["d"]
    assert world.hash("d")["jk_lane"].endswith("t_2")
    assert [claimed.id for claimed in world.claim()] == ["x"]
    world.pass_time(61)
    assert [claimed.id for claimed in world.claim()] == ["d"]
    world.enqueue(keyed(world, "f", "debounce", 60, key="wait", lane="t_1"))
    assert world.enqueue(keyed(world, "g", "debounce", 60, key="wait")) == ["f"]
    assert "jk_lane" not in world.hash("f")


@pytest.mark.parametrize(("mode", "within"), [("reject", None), ("throttle", 60), ("debounce", 60)])
def test_repeated_with_the_same_id(world: World, mode: str, within: float | None) -> None:
    """An enqueue that is repeated answers as the first did, and neither binds nor moves anything."""
    job = keyed(world, "x", mode, within)
    assert world.enqueue(job) == [True]
    before = world.hash("x"), world.redis.get(KEY), world.redis.zscore("rq:scheduled:a", "x")
    world.pass_time(10)
    assert world.enqueue(job, job) == [False, False]
    assert (world.hash("x"), world.redis.get(KEY), world.redis.zscore("rq:scheduled:a", "x")) == before


def test_throttle_repeated_after_its_job_is_gone(world: World) -> None:
    """Within the window a repeated enqueue makes no second job, even where retention has removed the first."""
    job = keyed(world, "x", "throttle", 60)
    world.enqueue(job)
    world.redis.delete("rq:job:x", "rq:queue:a")
    assert world.enqueue(job) == [False]
    assert world.waiting() == []


def test_keys_expire(world: World) -> None:
    """A key goes by itself: a throttle's with its window, another's a week after its job is due."""
    world.enqueue(
        keyed(world, "x"),
        keyed(world, "y", key="later", delay_ms=DAY_MS),
        keyed(world, "z", "throttle", 60, key="window"),
        keyed(world, "w", "debounce", DAY_MS / 1000, key="wait"),
    )
    lives = {name: world.redis.pttl(f"rq:jk:dedupe:a:{name}") for name in ("k", "later", "window", "wait")}
    expected = {"k": 7 * DAY_MS, "later": 8 * DAY_MS, "window": 60_000, "wait": 8 * DAY_MS}
    assert lives == pytest.approx(expected, abs=10_000)


@pytest.mark.parametrize(("delay", "lives"), [(0, 7), (30 * DAY_MS, 37)])
def test_a_key_that_is_met_lives_on(world: World, delay: int, lives: int) -> None:
    """A job that waits for long keeps its key as long as that comes again."""
    world.enqueue(keyed(world, "x", delay_ms=delay))
    world.redis.pexpire(KEY, 1_000_000)
    assert world.enqueue(keyed(world, "y")) == ["x"]
    assert world.redis.pttl(KEY) == pytest.approx(lives * DAY_MS, abs=10_000)


def test_full_server(world: World) -> None:
    """A full server refuses a new job and a change whole, and answers for what only repeats."""
    world.enqueue(keyed(world, "x"), keyed(world, "d", "debounce", 60, key="wait"))
    before = world.hash("d"), world.redis.zscore("rq:scheduled:a", "d")
    with full(world):
        assert world.enqueue(keyed(world, "y")) == ["x"]
        with pytest.raises(StoreFull):
            world.enqueue(keyed(world, "y"), keyed(world, "z", key="new"))
        with pytest.raises(StoreFull):
            world.enqueue(with_payload(keyed(world, "y", "debounce", 60, key="wait"), 2))
        world.redis.pexpire(KEY, 1000_000)
        with pytest.raises(StoreFull):
            world.enqueue(keyed(world, "y"), keyed(world, "z", key="new"))
    assert world.state("z") == "missing"
    assert (world.hash("d"), world.redis.zscore("rq:scheduled:a", "d")) == before


def test_follow_ups(world: World) -> None:
    """Follow-ups obey their keys, those that a later promotion writes too."""
    world.enqueue(keyed(world, "x", queue="b"))
    follow_ups = [keyed(world, f"f{i}", queue="b", key=str(i % 225)) for i in range(450)]
    world.finish(world.started(), follow_ups=(keyed(world, "y", queue="b"), *follow_ups))
    while world.sweeps.promote("b"):
        pass
    assert world.waiting("b") == ["x", *(f"f{i}" for i in range(225))]


def test_follow_ups_that_wait(world: World) -> None:
    """A debounced follow-up waits, and gives what it carries to the one that waits already."""
    world.enqueue(keyed(world, "x", "debounce", 60, queue="b"))
    last = with_payload(keyed(world, "y", "debounce", 60, queue="b"), 2)
    world.finish(world.started(), follow_ups=(last,))
    assert world.members("rq:scheduled:b") == {"x"}
    assert world.read("x").data == last.data


def test_job_enqueue(world: World) -> None:
    """A running job is told the id of the bound job; who lost its claim binds nothing."""
    claimed = world.started()
    world.enqueue(keyed(world, "x"))
    jobs = [keyed(world, "y"), keyed(world, "z", key="new")]
    assert world.claims.enqueue(claimed, jobs) == ["x", True]
    world.cancel("j")
    with pytest.raises(LostClaim):
        world.claims.enqueue(claimed, [keyed(world, "w", key="lost")])
    assert not world.redis.exists("rq:jk:dedupe:a:lost")
