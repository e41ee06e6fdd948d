"""Keeping claims alive, with a clock that the test holds."""

from typing import Any

import attrs
import pytest

from jobkit.errors import StoreUnavailable
from jobkit.store.records import Claimed
from jobkit.worker.attempt import Attempt
from jobkit.worker.held import Held
from jobkit.worker.lease import LeaseKeeper


@attrs.define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@attrs.define
class World:
    clock: Clock = attrs.field(factory=Clock)
    held: Held = attrs.field(factory=Held)
    lost: list[str] = attrs.field(factory=list)
    renewed: list[list[str]] = attrs.field(factory=list)
    answer: Any = attrs.field(factory=set)
    keeper: LeaseKeeper = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.keeper = LeaseKeeper(
            self.held, self.renew, lease=30.0, on_lost=self.on_lost, on_crash=pytest.fail, now=self.clock
        )

    def renew(self, claims: Any) -> set[str]:
        self.renewed.append([each.token for each in claims])
        if isinstance(self.answer, Exception):
            raise self.answer
        found: set[str] = self.answer
        return found

    def on_lost(self, attempts: Any) -> None:
        self.lost += [each.claimed.token for each in attempts]

    def hold(self, *tokens: str) -> None:
        for each in tokens:
            claim = Claimed("q", f"job-{each}", each, b"", b"", None, 0, 1, 0, 0, "")
            self.held.add([Attempt(claim)])


def is_dark(world: World) -> bool:
    """Ask the keeper; a type checker takes a property that was False for False."""
    return world.keeper.dark


def test_all_claims_are_renewed_in_one_call() -> None:
    """One call renews what is held; without claims there is no call."""
    world = World()
    assert world.keeper.tick() == 10.0
    assert world.renewed == []
    world.hold("a", "b")
    world.keeper.tick()
    assert world.renewed == [["a", "b"]]


def test_lost_claims_are_told_once() -> None:
    """A claim that the server says is lost is forgotten and told."""
    world = World(answer={"a", "unheard of"})
    world.hold("a", "b")
    world.keeper.tick()
    assert world.lost == ["a"]
    assert [each.claimed.token for each in world.held.all()] == ["b"]


def test_an_outage_ends_the_claims_at_two_thirds_of_a_lease() -> None:
    """A worker that cannot renew for 20 s of its own clock starts nothing and drops its claims; not before."""
    world = World(answer=StoreUnavailable("away"))
    world.hold("a")
    world.clock.now += 19.0
    with pytest.raises(StoreUnavailable):
        world.keeper.tick()
    assert not is_dark(world)
    assert world.lost == []
    world.clock.now += 2.0
    assert is_dark(world)
    with pytest.raises(StoreUnavailable):
        world.keeper.tick()
    assert world.lost == ["a"]
    world.answer = set()
    world.keeper.tick()
    assert not is_dark(world)


def test_a_late_tick_is_noticed(lines: Any) -> None:
    """A process that was stopped starts nothing until a renewal has told which claims are still its own."""
    world = World(answer={"a"})
    world.hold("a", "b")
    world.keeper.tick()
    world.lost.clear()
    world.clock.now += 300.0
    assert is_dark(world)
    world.keeper.tick()
    assert not is_dark(world)
    assert "the leases were renewed late: the process was starved or stopped" in lines.messages()
    assert [each.claimed.token for each in world.held.all()] == ["b"]
