"""Replies get lost: what the server has done is not done again, and nothing that it handed out is forgotten."""

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from jobkit.errors import StoreUnavailable, UnsuitableServer
from jobkit.store import Store, operations
from jobkit.store.claims import Claims
from tests.store.proxy import LossyProxy, lossy_proxy
from tests.store.world import World, done_with


@attrs.frozen
class Line:
    """A worker's line to the server, over a proxy that loses replies."""

    store: Store
    claims: Claims
    proxy: LossyProxy


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    """Give a store and a worker's claims behind the proxy; `world` looks past it."""
    with lossy_proxy(world.url) as proxy:
        store = Store.open(proxy.url)
        yield Line(store, Claims(store, "w1", world.rules), proxy)
        store.close()


def started(world: World) -> set[str]:
    """The members of the lease zset, which are RQ's started registry's too."""
    assert world.members("rq:jk:lease:a") == world.members("rq:wip:a")
    return world.members("rq:jk:lease:a")


@pytest.mark.parametrize("block", [0.0, 0.5])
def test_claim(world: World, line: Line, block: float) -> None:
    """A claim whose reply is lost hands out the same jobs when it is repeated: no second start, no leaked lease."""
    world.enqueue(*(f"j{i}" for i in range(8)))
    channel = line.claims.channel("c")
    channel.claim({"a": 0}, block=0)
    line.proxy.lose()
    batch = channel.claim({"a": 4}, block=block)
    assert line.proxy.lost == 1
    assert [claimed.id for claimed in batch.claimed] == ["j0", "j1", "j2", "j3"]
    assert started(world) == {f"{claimed.id}:{claimed.token}" for claimed in batch.claimed}
    assert all(claimed.epoch == 1 for claimed in batch.claimed)
    assert [claimed.id for claimed in channel.claim({"a": 9}, block=0).claimed] == ["j4", "j5", "j6", "j7"]
    channel.close()


def test_wait_refused(world: World) -> None:
    """A claim whose wait is refused has claimed all the same: the next one hands that out."""
    world.enqueue("j")
    world.channel.claim({"a": 0}, block=0)
    world.redis.set(world.channel._bell, "no list")
    with pytest.raises(UnsuitableServer, match="WRONGTYPE"):
        world.channel.claim({"a": 1}, block=0.5)
    assert [claimed.id for claimed in world.channel.claim({"a": 1}, block=0).claimed] == ["j"]


def test_advance(world: World, line: Line) -> None:
    """An advance whose reply is lost answers as it did: finished once, claimed once, follow-ups once."""
    world.enqueue(*(f"j{i}" for i in range(6)))
    channel = line.claims.channel("c")
    first = channel.claim({"a": 3}, block=0).claimed
    line.proxy.lose()
    follow_ups = (world.new("f", queue="b"),)
    batch = channel.advance([done_with(claimed, follow_ups=follow_ups) for claimed in first], {"a": 2})
    assert line.proxy.lost == 1
    assert batch.lost == []
    assert [claimed.id for claimed in batch.claimed] == ["j3", "j4"]
    assert started(world) == {f"{claimed.id}:{claimed.token}" for claimed in batch.claimed}
    assert [world.kinds(f"j{i}") for i in range(3)] == [[1], [1], [1]]
    assert world.waiting("b") == ["f"]
    channel.close()


def test_lost_tokens_are_repeated(world: World, line: Line) -> None:
    """A refused finish is refused again in the repeated answer."""
    world.enqueue("x", "y")
    channel = line.claims.channel("c")
    x, y = channel.claim({"a": 2}, block=0).claimed
    world.cancel("x")
    line.proxy.lose()
    assert channel.advance([done_with(x), done_with(y)], {}).lost == [x.token]
    channel.close()


def test_claim_lost_for_longer(world: World, line: Line) -> None:
    """Where the repetition fails too the claim raises, and the next call hands out what it had started."""
    world.enqueue("x", "y")
    channel = line.claims.channel("c")
    channel.claim({"a": 0}, block=0)
    line.proxy.lose()
    line.proxy.refuse = True
    with pytest.raises(StoreUnavailable, match="JOBKIT_REDIS_URL"):
        channel.claim({"a": 1}, block=0)
    assert len(started(world)) == 1
    line.proxy.refuse = False
    assert [claimed.id for claimed in channel.claim({"a": 1}, block=0).claimed] == ["x"]
    assert [claimed.id for claimed in channel.claim({"a": 1}, block=0).claimed] == ["y"]
    channel.close()


def test_advance_given_again(world: World, line: Line) -> None:
    """After an error the same batch may be given again: it is finished once, and what had been claimed comes."""
    world.enqueue("x", "y", "z")
    channel = line.claims.channel("c")
    x = channel.claim({"a": 1}, block=0).claimed
    line.proxy.lose()
    line.proxy.refuse = True
    with pytest.raises(StoreUnavailable):
        channel.advance([done_with(x[0])], {"a": 1})
    line.proxy.refuse = False
    batch = channel.advance([done_with(x[0])], {"a": 1})
    assert batch.lost == []
    assert [claimed.id for claimed in batch.claimed] == ["y"]
    assert world.kinds("x") == [1]
    assert started(world) == {f"y:{batch.claimed[0].token}"}
    channel.close()


def test_owed_answer_outlives_a_second_loss(world: World, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an unanswered call had claimed is handed out even when the call after its repetition is lost as well."""
    world.enqueue("x", "y", "z")
    channel = line.claims.channel("c")
    x = channel.claim({"a": 1}, block=0).claimed
    line.proxy.lose()
    line.proxy.refuse = True
    with pytest.raises(StoreUnavailable):
        channel.advance([done_with(x[0])], {"a": 1})
    line.proxy.refuse = False
    exchange, calls = channel._exchange, iter(range(9))

    def second_and_third_are_lost(*call: Any) -> Any:
        reply = exchange(*call)
        if next(calls) in {1, 2}:
            raise ConnectionResetError("the reply is gone")
        return reply

    with monkeypatch.context() as patched:
        patched.setattr(channel, "_exchange", second_and_third_are_lost)
        with pytest.raises(StoreUnavailable):
            channel.advance([done_with(x[0])], {"a": 1})
    batch = channel.advance([done_with(x[0])], {"a": 1})
    assert batch.lost == []
    assert [claimed.id for claimed in batch.claimed] == ["y"]
    assert started(world) == {f"y:{batch.claimed[0].token}"}
    channel.close()


def test_repeated_after_a_rescue(world: World, line: Line) -> None:
    """What was rescued while the reply was on its way is not handed out by the repetition: somebody else runs it."""
    world.enqueue("x", "y")
    channel = line.claims.channel("c")
    channel.claim({"a": 0}, block=0)
    line.proxy.lose()
    line.proxy.refuse = True
    with pytest.raises(StoreUnavailable):
        channel.claim({"a": 2}, block=0)
    world.redis.zadd("rq:jk:lease:a", {next(m for m in started(world) if m.startswith("x:")): 1})
    world.rescue()
    other = world.other_claims.channel("c")
    assert [claimed.id for claimed in other.claim({"a": 1}, block=0).claimed] == ["x"]
    line.proxy.refuse = False
    assert [claimed.id for claimed in channel.claim({"a": 0}, block=0).claimed] == ["y"]
    channel.close()
    other.close()


def test_earlier_life_of_the_same_name(world: World) -> None:
    """A worker that restarts under its old name is not given the replies of its earlier life."""
    world.enqueue("x", "y")
    before = world.claims.channel("c")
    (x,) = before.claim({"a": 1}, block=0).claimed
    before.advance([done_with(x)], {"a": 1})
    before.close()
    for _ in range(3):
        restarted = world.claims.channel("c")
        assert restarted.claim({"a": 1}, block=0).claimed == []
        assert restarted.advance([], {"a": 1}).claimed == []
        restarted.close()


def test_enqueue(world: World, line: Line) -> None:
    """An enqueue whose reply is lost may be repeated, by the store itself or by its caller: each job is there once."""
    jobs = [world.new("x"), world.new("y", delay_ms=5000)]
    line.store.run(operations.enqueue(line.store.keys, [world.new("first")]))
    line.proxy.lose()
    line.store.run(operations.enqueue(line.store.keys, jobs))
    line.proxy.lose(2)
    with pytest.raises(StoreUnavailable):
        line.store.run(operations.enqueue(line.store.keys, jobs))
    assert line.proxy.lost == 3
    assert line.store.run(operations.enqueue(line.store.keys, jobs)) == [False, False]
    assert world.waiting() == ["first", "x"]
    assert world.members("rq:scheduled:a") == {"y"}


@pytest.mark.parametrize("ending", ["fail", "snooze", "end", "put_back"])
def test_endings(world: World, line: Line, ending: str) -> None:
    """An ending whose reply is lost is recorded once, however often it is repeated."""
    channel = line.claims.channel("c")
    world.enqueue("j")
    (claimed,) = channel.claim({"a": 1}, block=0).claimed
    calls = {
        "fail": lambda: line.claims.fail(claimed, error="x", delay=5, started=1, ended=2),
        "snooze": lambda: line.claims.snooze(claimed, delay=5, reason="x"),
        "end": lambda: line.claims.end(claimed, state="canceled", reason="x", started=1, ended=2),
        "put_back": lambda: not line.claims.put_back([claimed]),
    }
    line.claims.load_steps(claimed)
    line.proxy.lose()
    assert calls[ending]() is True
    line.proxy.lose(2)
    with pytest.raises(StoreUnavailable):
        calls[ending]()
    assert line.proxy.lost == 3
    assert calls[ending]() is True
    assert world.kinds("j") in ([4], [], [3])
    assert world.read("j").failed == (1 if ending == "fail" else 0)
    assert started(world) == set()
    channel.close()


def test_scripts_forgotten(world: World) -> None:
    """A server that has forgotten the scripts (a restart, SCRIPT FLUSH) is told them again, wait included."""
    world.enqueue("x", "y", "z")
    for call in (
        lambda: world.claim(1),
        lambda: world.channel.claim({"a": 1}, block=0.5).claimed,
        lambda: world.channel.advance([], {"a": 1}).claimed,
    ):
        world.redis.script_flush()
        assert len(call()) == 1
    world.redis.script_flush()
    assert world.read("x").state == "started"


def test_server_gone(world: World, line: Line) -> None:
    """With the server away every call says what to check, and works again when it is back."""
    channel = line.claims.channel("c")
    line.proxy.refuse = True
    calls = [
        lambda: channel.claim({"a": 1}, block=0),
        lambda: channel.claim({"a": 1}, block=0.1),
        lambda: channel.advance([], {"a": 1}),
        channel.interrupt,
        lambda: line.store.run(operations.enqueue(line.store.keys, [world.new("j")])),
        lambda: line.store.check("production"),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match="Check that the server runs and that JOBKIT_REDIS_URL names it"):
            call()
    line.proxy.refuse = False
    world.enqueue("j")
    assert [claimed.id for claimed in channel.claim({"a": 1}, block=0).claimed] == ["j"]
    channel.close()
