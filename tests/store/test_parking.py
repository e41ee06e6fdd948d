"""Jobs that one release cannot read: offered to the others at once, to itself when they fall due."""

from typing import Any

import pytest

from jobkit.store.claims import Claims
from jobkit.store.records import Claimed
from tests.store.world import NO_WAIT, RULES, World

WAIT = 300.0


def claims_of(world: World, release: str) -> Claims:
    """The calls of a worker of a release."""
    return Claims(world.store, f"worker-{release}", RULES, release=release)


def look(world: World, release: str, want: int = 100) -> list[Claimed]:
    """What a worker of a release claims that looks for parked jobs; the first claim of a channel does."""
    channel = claims_of(world, release).channel("look")
    try:
        return channel.claim({"a": want}, block=NO_WAIT).claimed
    finally:
        channel.close()


def park(world: World, release: str, claimed: Claimed, delay: float = WAIT) -> None:
    """Park a claimed job, as a worker of a release."""
    assert claims_of(world, release).snooze(claimed, delay=delay, reason="unknown name", parked=True)


def parked(world: World, release: str, *job_ids: str, delay: float = WAIT) -> None:
    """Jobs that a release has parked."""
    world.enqueue(*job_ids)
    for claimed in world.claim(len(job_ids)):
        park(world, release, claimed, delay)


def test_nothing_is_offered_while_its_queue_is_held(world: World) -> None:
    """While a service wants the queue to wait, what others have parked waits as well, and is offered afterwards."""
    parked(world, "old", "j")
    world.enqueue("refused")
    claims_of(world, "new").snooze(world.claim_one(), delay=WAIT, reason="429", limited=True)
    assert look(world, "new") == []
    world.redis.delete("rq:jk:until:a")  # as if the time were over
    assert {each.id for each in look(world, "new")} == {"j", "refused"}


def test_others_are_offered_it(world: World) -> None:
    """What a release has parked goes to another at once, long before it is due, with the time of its parking."""
    start = world.now_ms()
    parked(world, "old", "j")
    assert look(world, "old") == []
    assert world.state("j") == "scheduled"
    (claimed,) = look(world, "new")
    assert (claimed.id, claimed.failed) == ("j", 0)
    assert start <= claimed.parked_ms <= world.now_ms()
    assert world.members("rq:scheduled:a") == set()
    assert len(world.members("rq:jk:lease:a")) == 1
    world.finish(claimed)
    assert world.state("j") == "finished"
    assert look(world, "third") == []


def test_each_release_has_it_once(world: World) -> None:
    """A job that nobody knows is with each release once; then it waits until it is due."""
    parked(world, "r1", "j")
    for release in ("r2", "r3"):
        (claimed,) = look(world, release)
        park(world, release, claimed)
    assert [look(world, release) for release in ("r1", "r2", "r3")] == [[], [], []]
    world.pass_time(WAIT + 1)
    (claimed,) = look(world, "r2")
    park(world, "r2", claimed)
    assert [look(world, release) for release in ("r1", "r2", "r3")] == [[], [], []]
    assert [each.id for each in look(world, "r4")] == ["j"]


def test_not_offered_for_ever(world: World) -> None:
    """A job that many releases have parked is offered to no more of them, so that no crowd hands it on endlessly."""
    parked(world, "r0", "j")
    had = 1
    while claimed := look(world, f"r{had}"):
        park(world, f"r{had}", claimed[0])
        had += 1
    assert 15 < had < 20
    world.pass_time(WAIT + 1)
    assert [each.id for each in look(world, "r0")] == ["j"]


def test_every_job_is_offered(world: World) -> None:
    """However many jobs others have parked, and whoever they are, a release is given them, up to what it wants."""
    parked(world, "r1", *(f"one{i}" for i in range(150)))
    parked(world, "r2", *(f"two{i}" for i in range(150)))
    assert {each.id[:3] for each in look(world, "r1")} == {"two"}
    first = look(world, "new", want=7)
    assert len(first) == 7
    assert len({each.id for each in [*first, *look(world, "new", want=500)]}) == 300 - 100


def test_a_look_leaves_the_waiting_to_others(world: World) -> None:
    """A look starts parked jobs first and no more jobs than were wanted; tokens differ."""
    parked(world, "old", "p1", "p2")
    world.enqueue("j1", "j2")
    claimed = look(world, "new", want=3)
    assert [each.id for each in claimed] == ["p1", "p2", "j1"]
    assert len({each.token for each in claimed}) == 3
    assert world.waiting() == ["j2"]


@pytest.mark.parametrize("what", ["fail", "snooze", "cancel", "delete", "not a hash", "started"])
def test_what_became_of_it(world: World, what: str) -> None:
    """A job that no longer waits for a release is not started because it once was offered."""
    parked(world, "old", "j")
    if what in {"fail", "snooze", "started"}:
        assert world.retry("j") == "queued"
        claimed = world.claim_one()
        if what == "fail":
            assert world.fail(claimed, delay=60.0)
        elif what == "snooze":
            assert world.claims.snooze(claimed, delay=60.0, reason="later")
    elif what == "cancel":
        assert world.cancel("j") == "canceled"
    else:
        world.redis.delete("rq:job:j")
        if what == "not a hash":
            world.redis.set("rq:job:j", "x")
    before = world.state("j") if what != "not a hash" else ""
    assert look(world, "new") == []
    if before:
        assert world.state("j") == before


def test_offers_expire(world: World) -> None:
    """An offer lasts until its job is due, so that nothing is left of those that nobody takes."""
    parked(world, "old", "long", delay=WAIT)
    parked(world, "old", "short", delay=5)
    keys = {key for key in world.all_keys() if ":parked" in key}
    assert keys == {"rq:jk:parked:a", "rq:jk:parked_by:old:a"}
    for key in keys:
        assert 290_000 < world.redis.pttl(key) <= 300_000
    world.pass_time(6)
    parked(world, "old", "more")
    assert world.members("rq:jk:parked_by:old:a") == {"long", "more"}


def test_its_runner_dies(world: World) -> None:
    """A parked job whose worker dies is rescued, and offered again when the old release parks it again."""
    parked(world, "old", "j")
    (claimed,) = look(world, "new")
    world.pass_time(31)
    assert world.rescue() == (1, 0, 0)
    (again,) = look(world, "old")
    assert again.parked_ms == claimed.parked_ms
    park(world, "old", again)
    assert look(world, "old") == []
    assert [each.id for each in look(world, "new")] == ["j"]


def test_suspended(world: World) -> None:
    """Nothing parked is started while an operator has suspended the workers."""
    parked(world, "old", "j")
    world.redis.set("rq:suspended", 1)
    assert look(world, "new") == []
    world.redis.delete("rq:suspended")
    assert len(look(world, "new")) == 1


def test_when_a_channel_looks(one_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks where it had nothing before, every two seconds while busy, and without waiting while there are any."""
    world, now = one_world, [1000.0]
    monkeypatch.setattr("jobkit.store.channel.time.monotonic", lambda: now[0])
    parked(world, "old", "p1", "p2")
    channel = claims_of(world, "new").channel("look")
    calls: list[tuple[Any, ...]] = []
    exchange = channel._exchange

    def noted(*args: Any) -> Any:
        calls.append(args)
        return exchange(*args)

    monkeypatch.setattr(channel, "_exchange", noted)

    def claim(*job_ids: str) -> tuple[list[str], bool, float | None]:
        """The jobs, whether it looked, and the longest that it would have waited for one."""
        if job_ids:
            world.enqueue(*job_ids)
        world.redis.lpush("rq:jk:bell:a", "1")
        batch = channel.claim({"a": 1}, block=1.0)
        call, _, first = calls[-1]
        return [each.id for each in batch.claimed], call.args[-1] == "new", first and first[-1]

    assert claim() == (["p1"], True, None)
    assert claim() == (["p2"], True, None)
    assert claim("j1") == (["j1"], True, None)
    now[0] += 1.75
    assert claim("j2") == (["j2"], False, 0.25)
    now[0] += 0.25
    assert claim("j3") == (["j3"], True, None)
    assert claim() == ([], False, 1.0)
    assert claim() == ([], True, 1.0)
    channel.close()


def test_a_lost_look_is_answered_again(one_world: World) -> None:
    """A look whose reply was lost gives the same jobs under the same tokens."""
    parked(one_world, "old", "j")
    channel = claims_of(one_world, "new").channel("look")
    (first,) = channel.claim({"a": 1}, block=NO_WAIT).claimed
    call = channel._claim_call({"a": 1}, "new")
    call.args[2] = first.token.rpartition("-")[0]
    (again,) = channel._call(call, None).claimed
    assert again == first
    channel.close()
