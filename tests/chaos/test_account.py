"""The account of a soak tells what went wrong: each promise broken on purpose."""

from typing import Any

import attrs
import pytest

from jobkit.soak.account import Evidence, Kill, Outage, account
from jobkit.soak.audit import Audit, Record
from jobkit.soak.effects import Effect, Effects
from tests.store.world import World

GOOD = Record(id="j", state="finished", epoch=2, token="t2", error=None, finishes=[(2, "t2")])  # noqa: S106 - a claim's


def ran(epoch: int, begin: float, end: float = 0.0, *, job: str = "j", pid: int = 7) -> Effect:
    """One line of the file of effects."""
    return Effect(job, 1, epoch, pid, begin, end)


def evidence(**changes: Any) -> Evidence:
    """A job that a kill at 10 interrupted, and that ran again from 13 on."""
    began, again, done = ran(1, 9.0), ran(2, 13.0), ran(2, 13.0, 14.0)
    whole = Evidence(
        seconds=20.0,
        enqueued=1,
        expected=["j"],
        records=[GOOD],
        effects=Effects({"j": [began, again]}, {"j": [done]}),
        kills=[Kill(10.0, 7, frozenset({"j"}))],
        outages=[],
        leaked=[],
        bad_exits=0,
        drained=True,
    )
    return attrs.evolve(whole, **changes)


def twice(*, first_end: float) -> Effects:
    """The job's effect before the kill, and again after it."""
    return Effects({"j": [ran(1, 9.0), ran(2, 13.0)]}, {"j": [ran(1, 9.0, first_end), ran(2, 13.0, 14.0)]})


def test_good() -> None:
    """A job in hand at a kill that ran again elsewhere keeps every promise; the restart is timed from the kill."""
    told = account(evidence())
    assert told.holds
    assert (told.finished, told.effects, told.run_twice, told.in_flight, told.kills) == (1, 1, 0, 1, 1)
    assert (told.restarts, told.restart(50), told.restart(100)) == ([3.0], 3.0, 3.0)


@pytest.mark.parametrize(
    "record",
    [None, attrs.evolve(GOOD, state="queued"), attrs.evolve(GOOD, state="failed", error="ValueError: no")],
)
def test_lost(record: Record | None) -> None:
    """A job that is gone, never ended, or failed of itself is lost."""
    told = account(evidence(records=[record] if record else []))
    assert (told.lost, told.holds) == (["j"], False)


def test_recorded_without_effect() -> None:
    """A job that is recorded as finished and did nothing is lost."""
    told = account(evidence(effects=Effects({}, {})))
    assert (told.lost, told.holds) == (["j"], False)


def test_poison_is_told_apart() -> None:
    """A job that took down too many workers is not lost: it lies in the dead letters, and is named."""
    told = account(evidence(records=[attrs.evolve(GOOD, state="failed", error="poison: its worker died")]))
    assert (told.dead_letters, told.lost) == (["j"], [])


def test_run_twice() -> None:
    """A second effect is explained by a kill with the job in hand, or by an outage that the first run met."""
    assert account(evidence(effects=twice(first_end=9.9))).holds
    idle = evidence(effects=twice(first_end=9.9), kills=[Kill(10.0, 7, frozenset())])
    assert account(idle).unexplained == ["j"]
    assert not account(idle).holds
    assert account(attrs.evolve(idle, outages=[Outage(9.5, 11.0)])).holds
    assert not account(attrs.evolve(idle, outages=[Outage(30.0, 31.0)])).holds


@pytest.mark.parametrize(
    "record",
    [
        attrs.evolve(GOOD, finishes=[(2, "t2"), (2, "t2")]),
        attrs.evolve(GOOD, finishes=[]),
        attrs.evolve(GOOD, finishes=[(1, "t1")], token="t1"),  # noqa: S106
        attrs.evolve(GOOD, finishes=[(2, "t1")]),
        attrs.evolve(GOOD, token=None),
    ],
    ids=["finished twice", "by no claim", "by an earlier claim", "by another token", "by one that ended otherwise"],
)
def test_wrongly_owned(record: Record) -> None:
    """A record that was not made once, by the last claim, is told."""
    told = account(evidence(records=[record]))
    assert (told.wrongly_owned, told.holds) == (["j"], False)


def test_restart_after_several_kills() -> None:
    """A job that was in hand at two kills before it began again is timed from the second."""
    kills = [Kill(10.0, 7, frozenset({"j"})), Kill(12.0, 8, frozenset({"j"}))]
    assert account(evidence(kills=kills)).restarts == [1.0]


@pytest.mark.parametrize("change", [{"leaked": ["rq:x"]}, {"bad_exits": 1}, {"drained": False}], ids=str)
def test_what_else_breaks_it(change: dict[str, Any]) -> None:
    """What was left behind, a worker that fell, and jobs that do not end break the account."""
    assert not account(evidence(**change)).holds


def test_leaks(store_url: str) -> None:
    """A claim that nobody gave up, its keys and a dead worker's name are leaks; cleaning removes them."""
    one_world = World(store_url)
    audit = Audit(one_world.store, "a")
    one_world.started("a-1")
    one_world.redis.sadd("rq:workers", "rq:worker:w1")
    one_world.redis.set("rq:jk:reply:w1:claim", "kept")
    token = one_world.hash("a-1")["jk_token"]
    one_world.redis.hset("rq:jk:steps:a-1", "s", "1")
    assert audit.held() == {"w1": {"a-1"}}
    assert sorted(audit.leaks(["w1"])) == sorted(
        [
            f"rq:jk:lease:a a-1:{token}",
            f"rq:wip:a a-1:{token}",
            "rq:jk:steps:a-1",
            "rq:workers w1",
            "rq:jk:reply:w1:claim",
        ]
    )
    assert audit.unfinished() == 1
    audit.clean(["w1"])
    assert [key for key in one_world.all_keys() if "a-1" in key or key.endswith(":a")] == []
    one_world.close()
