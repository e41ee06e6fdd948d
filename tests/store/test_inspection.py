"""Looking at what is stored."""

import json

import pytest

from jobkit.store import operations
from jobkit.store.presence import Presence
from tests.store.world import World


def test_read(world: World) -> None:
    """A job is read with its fields and its latest result, at one moment; nothing is None."""
    assert world.store.run(operations.read(world.store.keys, "j")) is None
    world.enqueue("j")
    world.fail(world.claim_one(), delay=60)
    found = world.store.run(operations.read(world.store.keys, "j"))
    assert found is not None
    job, last = found
    assert last is not None
    assert (job.id, job.queue, job.state, job.name) == ("j", "a", "scheduled", "acme.work")
    assert (job.failed, job.attempts, job.epoch, job.worker) == (1, 3, 1, "w1")
    assert (job.tags, job.error) == ({"tenant": "t_1"}, "ValueError: no")
    assert None not in (job.created_at, job.enqueued_at, job.started_at, job.due_at)
    assert job.ended_at is None
    assert (last[1].kind, last[1].worker, last[1].error) == (4, "w1", "Traceback\nValueError: no")


BROKEN = [
    "data",
    "jk",
    "jk_failed",
    "jk_epoch",
    "jk_rescues",
    "jk_progress",
    "created_at",
    "started_at",
    "timeout",
    "jk_timeout",
    "status",
    "origin",
    "jk_error",
]


@pytest.mark.parametrize("field", BROKEN)
@pytest.mark.parametrize("value", [b"", b"x", b"\xff\x80", b"[1]", b'{"a":1}', b"1e999", b"nan"])
def test_broken_fields(one_world: World, field: str, value: bytes) -> None:
    """A job of which a field was broken is shown with what can be read."""
    one_world.enqueue("j")
    one_world.redis.hset("rq:job:j", field, value)
    assert one_world.read("j").id == "j"


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "x"},
        {"other": "1"},
        {"type": "1", "return_value": "!!"},
        {"type": "1", "return_value": b"\xff"},
        {"type": "2", "exc_string": "!!"},
        {"type": "2", "worker_name": b"\xff", "execution_started_at": "soon"},
    ],
)
def test_broken_entries(one_world: World, entry: dict[str, str]) -> None:
    """A result entry that somebody else wrote does not hide the job."""
    one_world.enqueue("j")
    one_world.redis.xadd("rq:results:j", entry)
    assert one_world.read("j").id == "j"
    assert len(one_world.store.run(operations.attempts(one_world.store.keys, "j"))) == 1


def test_key_that_is_no_hash(world: World) -> None:
    """A job whose key or result stream holds something else does not break a listing."""
    world.enqueue("x", "y")
    world.redis.delete("rq:job:x")
    world.redis.set("rq:job:x", "bytes")
    world.redis.set("rq:results:y", "bytes")
    assert [job.id for job in world.inspection.jobs("a", "queued")] == ["x", "y"]
    assert world.read("x").state == ""
    assert world.read("y").state == "queued"


def test_counts_and_lists(world: World) -> None:
    """Counts and lists of a queue's states, ended jobs newest first."""
    world.enqueue("x", "y", "z", "s", world.new("later", delay_ms=60_000))
    x, y, z = world.claim(3)
    world.finish(x)
    world.pass_time(1)
    world.finish(y)
    counts = world.inspection.counts(["a", "b"])
    assert [
        (c.name, c.queued, c.started, c.scheduled, c.finished, c.failed, c.canceled, c.deferred) for c in counts
    ] == [
        ("a", 1, 1, 1, 2, 0, 0, 0),
        ("b", 0, 0, 0, 0, 0, 0, 0),
    ]
    listed = {
        state: [job.id for job in world.inspection.jobs("a", state)] for state in ("queued", "started", "finished")
    }
    assert listed == {"queued": ["s"], "started": [z.id], "finished": ["y", "x"]}
    assert [job.id for job in world.inspection.jobs("a", "scheduled", offset=0, limit=1)] == ["later"]
    assert world.inspection.jobs("a", "finished", offset=1, limit=1)[0].id == "x"
    with pytest.raises(ValueError, match="state: expected one of queued"):
        world.inspection.jobs("a", "done")


def test_entries_after(world: World) -> None:
    """A client waits for the entry after the one it knows."""
    keys = world.store.keys
    assert world.store.run(operations.entries_after(keys, "j", "0-0", block_ms=1)) == []
    world.enqueue("j")
    world.fail(world.claim_one(), delay=0)
    ((first, entry),) = world.store.run(operations.entries_after(keys, "j", "0-0", block_ms=1000))
    assert entry.kind == 4
    assert world.store.run(operations.entries_after(keys, "j", first, block_ms=1)) == []
    world.finish(world.claim_one())
    ((_, entry),) = world.store.run(operations.entries_after(keys, "j", first, block_ms=1000))
    assert (entry.kind, entry.value) == (1, b'{"ok":true}')


def test_workers(world: World) -> None:
    """Workers are listed with queues, state and counts; one whose heartbeat ran out is not."""
    for name in ("w2", "w1"):
        presence = Presence(world.store, name, ["a"])
        presence.birth()
    presence.beat(busy=True)
    world.finish(world.started())
    first, second = world.inspection.workers()
    assert (first.name, first.queues, first.state, first.finished, first.failed) == ("w1", ("a",), "busy", 1, 0)
    assert second.state == "idle"
    assert first.birth is not None
    world.redis.delete("rq:worker:w2")
    assert [worker.name for worker in world.inspection.workers()] == ["w1"]


def test_beat_registers_again(world: World) -> None:
    """A worker that Redis had forgotten is there again after its next heartbeat."""
    presence = Presence(world.store, "w1", ["a"])
    presence.birth()
    world.redis.flushall()
    presence.beat(busy=False)
    assert [worker.name for worker in world.inspection.workers()] == ["w1"]
    assert 60 < world.redis.ttl("rq:worker:w1") <= 90


def test_death_leaves_nothing(world: World) -> None:
    """A worker that leaves is unlisted, and its hash goes a minute later."""
    presence = Presence(world.store, "w1", ["a", "b"])
    presence.birth()
    presence.death()
    assert world.inspection.workers() == []
    assert world.all_keys() == {"rq:worker:w1"}
    assert 0 < world.redis.ttl("rq:worker:w1") <= 60


def test_counts_only_of_living_workers(world: World) -> None:
    """A worker that is not registered leaves no counter behind."""
    world.finish(world.started())
    world.fail(world.started("k"))
    assert not world.redis.exists("rq:worker:w1")


def test_commands(world: World) -> None:
    """RQ's commands come as they were sent; what is no command is told, and silence is None."""
    commands = Presence(world.store, "w1", ["a"]).commands(poll=0.05)
    assert next(commands) is None
    world.redis.publish("rq:pubsub:w1", json.dumps({"command": "shutdown"}))
    world.redis.publish("rq:pubsub:w1", b"\xff")
    world.redis.publish("rq:pubsub:w1", "[]")
    heard = [command for command in (next(commands) for _ in range(4)) if command]
    commands.close()
    assert [command["command"] for command in heard] == ["shutdown", "unreadable", "unreadable"]
