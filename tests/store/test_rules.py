"""Rules in force: one text a queue for all workers, by revision."""

import json
from collections.abc import Iterator

import pytest

from tests.store.lanes import Line
from tests.store.world import World


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    """Give lanes on an empty server, once of each kind."""
    made = Line(world)
    yield made
    made.check()


def in_force(line: Line) -> dict[str, object]:
    """The rules as they lie on the server."""
    return json.loads(line.world.redis.get("rq:jk:rules:a") or "{}")


def test_a_newer_revision_stays(line: Line) -> None:
    """An older release that starts again changes nothing; an equal or newer one does."""
    assert line.rule(revision=2, run=2)
    assert not line.rule(revision=1, run=1)
    assert in_force(line)["run"] == 2
    assert line.rule(revision=2, run=3)
    assert line.rule(revision=3, run=4)
    assert in_force(line)["run"] == 4
    assert line.world.sweeps.enforce({"a": "", "b": ""}, 2) == ["a"]


def test_none_to_keep_none(line: Line) -> None:
    """Queues without rules leave no key, and what was there goes."""
    line.world.sweeps.enforce({"a": "", "b": ""}, 0)
    assert not line.world.redis.exists("rq:jk:rules:a", "rq:jk:rules:b")
    line.rule(run=1)
    line.world.sweeps.enforce({"a": ""}, 0)
    assert not line.world.redis.exists("rq:jk:rules:a")


def test_the_same_again_rings_for_nobody(line: Line) -> None:
    """A worker that starts with the rules in force wakes none; other rules do."""
    line.rule(run=1)
    assert line.rung()
    line.rule(run=1)
    assert not line.rung()
    line.rule(run=2)
    assert line.rung()


def test_removed_rules_free_what_waits(line: Line) -> None:
    """Lanes that waited for limits that are not in force any more come back within a few sweeps, however many."""
    line.rule(keyed={"run/t": [1], "rate/t": [1, 500_000]})
    for half in range(2):
        line.world.enqueue(*(line.new(f"r{n}", f"run/t={n % 250}", fair=f"f{n}") for n in range(half, 500, 2)))
        line.world.enqueue(*(line.new(f"w{n}", f"rate/t={n % 250}", fair=f"f{n}") for n in range(half, 500, 2)))
    first = []
    while claims := line.claims(100):
        first += claims
    for _ in range(20):
        line.claim()
    assert len(first) == 500
    assert line.world.redis.hlen("rq:jk:blocked_by:a") == 500
    line.rule(keyed={}, revision=1)
    sweeps = 0
    while line.sweep().more:
        sweeps += 1
        assert sweeps < 20
    second = []
    while claims := line.claims(100):
        second += claims
    assert len(second) == 500
    assert not line.world.redis.exists("rq:jk:recheck")


BAD = [
    "",
    "{",
    "null",
    "3",
    '"x"',
    "[]",
    "{}",
    '{"rev": null, "keyed": null}',
    '{"rev": "x", "keyed": []}',
    '{"rev": 0, "keyed": {"run/t": null, "rate/t": [null, 1]}, "rate": [[0, 0], null, [1]], "run": "many"}',
    '{"rev": 0, "keyed": {"run/t": [1.5], "rate/t": [3, 0.1]}, "rate": {"x": 1}, "run": 0.2, "weights": {"x": 0}}',
    '{"rev": 0, "keyed": {}, "weights": null, "rate": "x", "run": null}',
    '{"rev": 0, "keyed": {}, "weights": {"x": -1, "y": "z"}, "rate": [[1e300, 1e300]]}',
    "\xff\xfe",
]


@pytest.mark.parametrize("text", BAD)
def test_text_that_cannot_be_read_limits_nothing(line: Line, text: str) -> None:
    """What no release writes keeps no queue from its jobs; mutexes hold; the next start replaces it."""
    line.world.redis.set("rq:jk:rules:a", text)
    line.put("j1", "run/t=1", "rate/t=1", "mutex=m", fair="x")
    line.put("j2", "run/t=1", "rate/t=1", "mutex=m", fair="x")
    line.put("j3", "run/t=1", "rate/t=1", fair="y")
    line.world.enqueue("plain")
    seen = []
    for _ in range(3):
        claims = line.claims()
        assert not {"j1", "j2"} <= {each.id for each in claims}
        seen += [each.id for each in claims]
        line.finish(*claims)
        line.sweep()
        line.world.pass_time(1)
    assert sorted(seen) == ["j1", "j2", "j3", "plain"]
    assert line.rule(run=1)
    assert in_force(line)["run"] == 1


def test_more_limits_than_one_of_a_kind(line: Line) -> None:
    """Two windows by one field hold both."""
    line.rule(keyed={"rate/t": [2, 1000], "rate/t/2": [3, 10_000]})
    for n in range(5):
        line.put(f"j{n}", "rate/t=x", "rate/t/2=x")
    assert line.claim() == ["j0", "j1"]
    assert line.wait() == pytest.approx(1.0)
    line.world.pass_time(1)
    assert line.claim() == ["j2"]
    assert line.wait() == pytest.approx(9.0)
