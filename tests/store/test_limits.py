"""Rate limits, concurrency limits and mutexes: exact, given back by every ending, and waited for without asking."""

from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
from rq.job import Job

from jobkit.store.claims import Claims
from jobkit.store.peeking import Peeking
from jobkit.store.records import Claimed
from tests.store.lanes import Line, lane
from tests.store.world import World, done_with

MUTEX = "mutex=m"
RUN = "run/tenant=t1"


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    """Give lanes on an empty server, once of each kind."""
    made = Line(world)
    yield made
    made.check()


@pytest.fixture
def one_line(one_world: World) -> Iterator[Line]:
    """Give lanes on an empty server of one kind."""
    made = Line(one_world)
    yield made
    made.check()


def most_in(times: list[int], per: int) -> int:
    """The most of these times that any window holds."""
    return max(sum(begin <= other < begin + per for other in times) for begin in times)


@pytest.mark.parametrize("rates", [[[5, 1000]], [[5, 1000], [12, 5000]], [[12, 5000], [5, 1000], [1, 7]]])
def test_queue_wide_rate_is_exact(line: Line, rates: list[list[int]]) -> None:
    """No window holds more claims than any of the queue's rates says, and all of the allowance is used."""
    line.rule(rate=rates)
    line.world.enqueue(*(line.world.new(f"j{n}") for n in range(60)))
    times: list[int] = []
    started = line.world.now_ms()
    while len(times) < 60:
        batch = line.world.channel.claim({"a": 7}, block=0)
        times += [line.world.now_ms()] * len(batch.claimed)
        assert batch.wait
        line.world.pass_time(batch.wait)
    for count, per in rates:
        assert most_in(times, per) <= count
    # As fast as the slowest of the rates allows.
    allowed = max((60 - 1) // count * per for count, per in rates)
    assert times[-1] - started <= allowed + 1000 * len(rates)  # windows of several rates do not begin together


def test_rates_by_plain_lists_and_lanes_together(line: Line) -> None:
    """The queue's rate counts jobs with lanes and without alike."""
    line.rule(rate=[[4, 1000]])
    line.put("laned", fair="x")
    line.world.enqueue("p1", "p2", "p3", "p4", "p5")
    assert line.claim() == ["p1", "p2", "p3", "p4"]
    assert line.wait() == pytest.approx(1.0)
    line.world.pass_time(1)
    assert line.claim() == ["p5", "laned"]


def test_the_wait_is_told_with_the_last_permits(line: Line) -> None:
    """Who is given fewer than it wants because of a rate learns at once when there are more."""
    line.rule(rate=[[3, 10_000]])
    line.world.enqueue(*(f"j{n}" for n in range(5)))
    batch = line.world.channel.claim({"a": 5}, block=0)
    assert len(batch.claimed) == 3
    assert batch.wait == pytest.approx(10.0)
    line.world.pass_time(4)
    assert line.wait() == pytest.approx(6.0)


def test_the_longest_of_several_waits_is_told(line: Line) -> None:
    """Of several rates that are used up, the one that opens last counts."""
    line.rule(rate=[[1, 1000], [1, 9000]])
    line.world.enqueue("j", "k")
    assert line.claim(1) == ["j"]
    assert line.wait() == pytest.approx(9.0)


def test_keyed_rate_is_exact(line: Line) -> None:
    """Each value of a key has its window; another's jobs go on meanwhile."""
    line.rule(keyed={"rate/tenant": [3, 1000]})
    keys = [f"rate/tenant=t{n}" for n in range(3)]
    for n in range(45):
        line.put(f"{n % 3}-{n}", keys[n % 3])
    times: dict[str, list[int]] = defaultdict(list)
    while sum(map(len, times.values())) < 45:
        batch = line.world.channel.claim({"a": 5}, block=0)
        for claimed in batch.claimed:
            times[claimed.id[0]].append(line.world.now_ms())
        line.world.pass_time(0.13 if batch.wait is None else min(batch.wait, 0.13))
        line.check()
    for each in times.values():
        assert most_in(each, 1000) <= 3
    assert max(each[-1] - each[0] for each in times.values()) < 4000 + 4 * 130


def test_a_key_that_waits_for_its_window_wakes_at_its_permit(line: Line) -> None:
    """A lane that waits for a window tells the time of its permit, not less; then it goes on."""
    line.rule(keyed={"rate/t": [1, 5000]})
    line.put("j1", "rate/t=1")
    line.put("j2", "rate/t=1")
    assert line.claim() == ["j1"]
    assert line.wait() == pytest.approx(5.0)
    line.world.pass_time(2)
    assert line.wait() == pytest.approx(3.0)
    line.world.pass_time(3)
    assert line.claim() == ["j2"]
    assert line.wait() is None


def test_many_lanes_that_wait_for_one_window(line: Line) -> None:
    """Lanes that wait for one window are brought back as it admits them, in their order, and none is forgotten."""
    line.rule(keyed={"rate/t": [15, 1000]})
    for n in range(40):
        line.put(f"j{n}", "rate/t=1", f"mutex={n}")
    seen = []
    for _ in range(60):
        answer = line.world.channel.claim({"a": 50}, block=0)
        seen.append([each.id for each in answer.claimed])
        line.check()
        if answer.wait is None:
            break
        line.world.pass_time(answer.wait)
    assert [each for batch in seen for each in batch] == [f"j{n}" for n in range(40)]
    assert len(seen[0]) == 15


def test_no_polling_while_the_queue_is_shut(line: Line) -> None:
    """Permits of keys that are due meanwhile do not make a worker ask while the whole queue has no room."""
    line.rule(keyed={"rate/t": [1, 1000]}, run=1)
    line.put("j1", "rate/t=1")
    line.put("j2", "rate/t=1")
    line.put("j3")
    (first,) = line.claims(1)
    line.world.pass_time(2)
    assert line.wait() is None
    assert not line.rung()
    assert line.finish(first) == []
    assert line.rung()


def test_peeks_leave_a_queue_alone_that_is_shut(line: Line) -> None:
    """A backlog behind a rate limit rings no bell before the next permit."""
    line.rule(rate=[[1, 5000]])
    line.world.enqueue("j1", "j2")
    line.claim()
    line.rung()
    peeking = Peeking(line.world.store, "w1")
    peeking.peek()
    assert not line.rung()
    line.world.pass_time(5)
    peeking.peek()
    assert line.rung()


def test_max_running_of_a_queue(line: Line) -> None:
    """No more than so many of a queue's jobs are started at a time, whoever asks; an end rings for the next."""
    line.rule(run=2)
    line.world.enqueue("p1", "p2")
    line.put("l1")
    line.put("l2")
    first, second = line.claims()
    assert line.wait() is None
    assert not line.rung()
    line.finish(first)
    assert line.rung()
    assert line.claim() == ["l1"]
    assert line.finish(second, want={"a": 5}) == ["l2"]


def test_max_running_by_key(line: Line) -> None:
    """Each value of a key has so many places; lanes of others pass by."""
    line.rule(keyed={"run/tenant": [2]})
    for n in range(4):
        line.put(f"x{n}", "run/tenant=x")
        line.put(f"y{n}", "run/tenant=y")
    first = line.claims()
    assert sorted(each.id for each in first) == ["x0", "x1", "y0", "y1"]
    assert line.claim() == []
    x0 = next(each for each in first if each.id == "x0")
    assert line.finish(x0, want={"a": 10}) == ["x2"]


def test_a_smaller_limit_counts_those_that_run(line: Line) -> None:
    """A limit that was made smaller admits none before enough of those that run have ended."""
    line.rule(keyed={"run/t": [4]})
    for n in range(6):
        line.put(f"j{n}", "run/t=1")
    running = line.claims(4)
    line.rule(keyed={"run/t": [1]}, revision=1)
    line.world.redis.zrem("rq:jk:lease:a", f"{running[0].id}:{running[0].token}")  # deleted by hand
    assert line.claim() == []
    line.sweep()
    assert line.claim() == []
    assert line.finish(*running[1:3], want={"a": 5}) == []
    assert line.finish(running[3], want={"a": 5}) == ["j4"]


# --- endings: each gives back what the attempt held


def finished(line: Line, claimed: Claimed) -> None:
    """It finishes."""
    line.finish(claimed)


def retried(line: Line, claimed: Claimed) -> None:
    """It fails and comes again at once."""
    assert line.world.fail(claimed, delay=0)


def retried_later(line: Line, claimed: Claimed) -> None:
    """It fails and comes again later."""
    assert line.world.fail(claimed, delay=50)


def failed(line: Line, claimed: Claimed) -> None:
    """It fails for good."""
    assert line.world.fail(claimed)


def snoozed(line: Line, claimed: Claimed) -> None:
    """It puts itself off."""
    assert line.world.claims.snooze(claimed, delay=50, reason="x")


def put_back(line: Line, claimed: Claimed) -> None:
    """Its worker gives it back."""
    assert line.world.claims.put_back([claimed]) == []


def ended(line: Line, claimed: Claimed) -> None:
    """It says that it is canceled."""
    assert line.world.end(claimed)


def stopped(line: Line, claimed: Claimed) -> None:
    """An operator stops it."""
    assert line.world.end(claimed, "stopped")


def canceled(line: Line, claimed: Claimed) -> None:
    """An operator cancels it."""
    assert line.world.cancel(claimed.id) == "canceled"


def canceled_by_rq(line: Line, claimed: Claimed) -> None:
    """RQ's own tools cancel it."""
    Job.fetch(claimed.id, connection=line.world.redis, serializer="json").cancel()
    assert line.world.claims.renew([claimed]) == {claimed.token}


def deleted_by_rq(line: Line, claimed: Claimed) -> None:
    """RQ's own tools delete it, and its worker hears of that as it finishes."""
    Job.fetch(claimed.id, connection=line.world.redis, serializer="json").delete()
    assert line.world.channel.advance([done_with(claimed)], {}).lost == [claimed.token]


def deleted_and_left(line: Line, claimed: Claimed) -> None:
    """RQ's own tools delete it, and its worker is never heard of again."""
    Job.fetch(claimed.id, connection=line.world.redis, serializer="json").delete()
    line.world.pass_time(31)
    assert line.world.rescue() == (0, 0, 1)


def rescued(line: Line, claimed: Claimed) -> None:
    """Its worker dies."""
    line.world.pass_time(31)
    assert line.world.rescue() == (1, 0, 0)


def poisoned(line: Line, claimed: Claimed) -> None:
    """Its worker dies, once too often."""
    line.world.redis.hset(f"rq:job:{claimed.id}", mapping={"jk_rescues": 3, "jk_tried": claimed.token})
    line.world.pass_time(31)
    assert line.world.rescue() == (0, 1, 0)


def corrupted(line: Line, claimed: Claimed) -> None:
    """Its key holds something else, and its worker dies."""
    line.world.redis.delete(f"rq:job:{claimed.id}")
    line.world.redis.set(f"rq:job:{claimed.id}", "no hash")
    line.world.pass_time(31)
    assert line.world.rescue() == (1, 0, 0)


ENDINGS = [
    finished,
    retried,
    retried_later,
    failed,
    snoozed,
    put_back,
    ended,
    stopped,
    canceled,
    canceled_by_rq,
    deleted_by_rq,
    deleted_and_left,
    rescued,
    poisoned,
    corrupted,
]
AGAIN = {"retried", "put_back", "rescued"}
"""Endings after which the job is the first in its lane again."""


@pytest.mark.parametrize("piece", [MUTEX, RUN])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_gives_the_place_back(line: Line, ending: Callable[[Line, Claimed], None], piece: str) -> None:
    """However an attempt ends, who waits for its place is brought back and told, and nothing of it is left."""
    line.rule(keyed={"run/tenant": [1]})
    line.put("first", piece, fair="x")
    line.put("second", piece, fair="y", queue="b" if piece == MUTEX else "a")
    queue = "b" if piece == MUTEX else "a"
    (first,) = line.claims(1)
    assert line.wait(queue=queue) is None
    line.rung(queue)
    line.check()
    ending(line, first)
    line.check()
    assert line.rung(queue)
    seconds = line.claims(1, queue)
    assert [each.id for each in seconds] in ([["first"], ["second"]] if queue == "a" else [["second"]])
    line.check()


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_key_is_left(line: Line, ending: Callable[[Line, Claimed], None]) -> None:
    """When all is done nothing is left of lanes and limits but a turn a queue."""
    line.rule(keyed={"run/tenant": [1], "rate/tenant": [9, 1000]})
    pieces = ("rate/tenant=t1", RUN, MUTEX)
    for n in range(3):
        line.put(f"j{n}", *pieces, fair="x")
    (first,) = line.claims(1)
    assert line.claim() == []
    ending(line, first)
    for _ in range(20):
        claims = line.claims()
        line.finish(*claims)
        line.world.pass_time(10)
    line.sweep()
    assert line.left() == set()
    assert not line.world.redis.exists("rq:deferred:a")
    assert {line.world.state(f"j{n}") for n in (1, 2)} == {"finished"}


# --- mutexes


def test_order_is_kept_among_those_that_wait(line: Line) -> None:
    """Jobs that wait for one mutex run one at a time, in the order of their enqueue, over queues and after a retry."""
    for n in range(6):
        line.put(f"j{n}", MUTEX, queue="ab"[n % 2])
    seen = []
    for _ in range(6):
        claims = line.claims() + line.claims(queue="b")
        assert len(claims) == 1
        seen.append(claims[0].id)
        line.finish(*claims)
    assert sorted(seen[0::2] + seen[1::2]) == [f"j{n}" for n in range(6)]
    assert [each for each in seen if int(each[1]) % 2 == 0] == ["j0", "j2", "j4"]
    assert [each for each in seen if int(each[1]) % 2] == ["j1", "j3", "j5"]


def test_what_was_put_back_is_first_again(line: Line) -> None:
    """A job that was put back keeps its place among those that wait for its mutex."""
    for n in range(3):
        line.put(f"j{n}", MUTEX, fair=f"f{n}")
    (first,) = line.claims()
    line.world.claims.put_back([first])
    assert line.world.state("j0") == "queued"
    found = line.claims()
    assert len(found) == 1
    line.check()


def test_a_queue_without_workers_does_not_hold_a_mutex(line: Line) -> None:
    """A lane of a queue that nobody claims from is brought back, and a sweep lets the next one have the mutex."""
    line.put("a1", MUTEX)
    (first,) = line.claims()
    line.put("b1", MUTEX, queue="b")
    assert line.claim(queue="b") == []
    line.put("a2", MUTEX)
    assert line.claim() == []
    line.finish(first)
    assert line.rung("b")
    assert line.claim() == []
    line.sweep()
    assert line.rung()
    assert line.claim() == ["a2"]


def test_a_sweep_wakes_nobody_without_room(line: Line) -> None:
    """While a mutex is held, sweeps ring for nobody and bring nobody back."""
    line.put("j1", MUTEX)
    line.put("j2", MUTEX)
    line.claim()
    line.claim()
    line.rung()
    for _ in range(3):
        line.sweep()
        assert not line.rung()
    assert line.world.redis.hexists("rq:jk:blocked_by:a", lane(MUTEX))


def test_a_lane_that_cannot_use_its_place_passes_it_on(line: Line) -> None:
    """A place goes to the next that waits where the first waits for something else as well."""
    line.rule(keyed={"run/tenant": [1]})
    line.put("holder", "mutex=m1", queue="b")
    line.put("t", RUN)
    line.claim(queue="b")
    (running,) = line.claims()
    line.put("both", RUN, "mutex=m1")
    line.put("one", RUN, "mutex=m2")
    assert line.claim() == []
    assert line.finish(running, want={"a": 5}) == ["one"]


def test_lanes_that_lost_their_jobs_take_no_place(line: Line) -> None:
    """A place goes to the next that waits where the first one's jobs were canceled or deleted."""
    line.put("holder", MUTEX)
    (running,) = line.claims()
    for n in range(4):
        line.put(f"j{n}", MUTEX, fair=f"f{n}")
    assert line.claim() == []
    line.world.cancel("j0")
    Job.fetch("j1", connection=line.world.redis, serializer="json").delete()
    Job.fetch("j2", connection=line.world.redis, serializer="json").cancel()
    assert line.finish(running, want={"a": 5}) == ["j3"]


def test_limits_opened_wide_bring_many_back(line: Line) -> None:
    """Rules that admit more bring the lanes back that wait, as many as there is room for."""
    line.rule(keyed={"run/g": [1]})
    for n in range(30):
        line.put(f"j{n}", "run/g=1", f"mutex=m{n}")
    assert line.claim() == ["j0"]
    line.rule(keyed={"run/g": [20]}, revision=1)
    line.sweep()
    assert len(line.claim()) == 19


def test_a_job_written_again_waits_in_its_own_lane(line: Line) -> None:
    """An id that was deleted and enqueued again holds what its new lane says."""
    line.put("j", "mutex=old")
    Job.fetch("j", connection=line.world.redis, serializer="json").delete()
    line.put("j", "mutex=new")
    assert line.claim() == ["j"]
    assert line.world.redis.exists("rq:jk:run:mutex=new")
    assert not line.world.redis.exists("rq:jk:run:mutex=old")
    assert line.claim() == []


@pytest.mark.parametrize("value", ["a:b", "a/b", "a=b", "mutex=x", "\u00e9\u4e2d", "rq:jk:run:x", "%d+", "\U0001f600"])
def test_values_with_special_characters(line: Line, value: str) -> None:
    """Whatever a value is made of, it is one key of its own."""
    line.rule(keyed={"run/t": [1]}, weights={value: 2})
    line.put("j1", f"run/t={value}", f"mutex={value}", fair=value)
    line.put("j2", f"run/t={value}", f"mutex={value}", fair=value)
    line.put("other", "run/t=other", fair="")
    line.put("b", fair="1", queue="b")
    claims = line.claims()
    assert sorted(each.id for each in claims) == ["j1", "other"]
    assert line.finish(*claims, want={"a": 5}) == ["j2"]


def test_queues_with_colons_are_apart(line: Line) -> None:
    """A queue named a:b and the queue a have nothing in common, whatever their lanes are called."""
    line.world.rules = {**line.world.rules, "a:b": line.world.rules["a"]}
    line.put("j1", fair="b:c")
    line.put("j2", fair="c", queue="a:b")
    assert line.claim() == ["j1"]
    assert line.claim(queue="a:b") == ["j2"]


def test_parked_jobs_obey_their_limits(line: Line) -> None:
    """A job parked by another release is started where its limits admit it, and waits in its lane otherwise."""
    line.rule(run=2, rate=[[10, 1000]])
    old = Claims(line.world.store, "w9", line.world.rules, release="r1")
    new = Claims(line.world.store, "w8", line.world.rules, release="r2")
    line.put("j1", MUTEX)
    line.put("j2", MUTEX)
    line.world.enqueue("p1", "p2", "p3")
    channel = old.channel("c")
    parked = []
    while found := channel.claim({"a": 1}, block=0).claimed:
        assert old.snooze(found[0], delay=60, reason="unknown", parked=True)
        parked.append(found[0].id)
    assert sorted(parked) == ["j1", "j2", "p1", "p2", "p3"]
    other = new.channel("c")
    got = other.claim({"a": 9}, block=0).claimed
    assert len(got) == 2
    assert sum(each.id in {"j1", "j2"} for each in got) <= 1
    assert line.world.redis.llen("rq:jk:win:a/rate/1") == 7
    for each in (channel, other):
        each.close()
    line.check()
