"""The drain and the pick-up where there is a lot: ended jobs, waiting jobs, queues, bytes; beside a little of it."""

from typing import Final

from benchmarks.draining import drain, work_off
from benchmarks.enqueueing import enqueue
from benchmarks.latency import paced, pick_up
from benchmarks.stage import NONE, Env, Failed, Stage
from benchmarks.systems import System

SEED: Final = 50
"""Jobs that are run before one of them is copied."""
CHUNK: Final = 2000
CLONE: Final = """\
local source, first, last = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local copies = {}
for i = 4, #ARGV do
  local key = ARGV[i] .. source
  local content = redis.call('DUMP', key)
  if content then copies[#copies + 1] = {ARGV[i], content, math.max(0, redis.call('PTTL', key))} end
end
local scores = {}
for i, index in ipairs(KEYS) do scores[i] = redis.call('ZSCORE', index, source) end
for number = first, last do
  local id = source .. '-' .. number
  for _, copy in ipairs(copies) do redis.call('RESTORE', copy[1] .. id, copy[3], copy[2]) end
  for i, index in ipairs(KEYS) do redis.call('ZADD', index, scores[i], id) end
end
return #copies
"""
"""Copies a finished job's keys under new ids, and enters them where the job is entered."""


def beside(few: dict[str, float], many: dict[str, float]) -> dict[str, float]:
    """Put both together: the figures with a lot, those with a little, and what is left of the speed."""
    shared = ("per_s", "p50_ms", "p99_ms", "redis_cpu_per_10k", "reads", "enqueued_per_s")
    made = {key: many[key] for key in shared if key in many}
    made |= {f"few_{key}": few[key] for key in shared if key in few}
    return made | {"kept": many["per_s"] / few["per_s"]}


def both(stage: Stage, system: System, env: Env = NONE) -> dict[str, float]:
    """Drain, then pick up, on an empty server."""
    sizes, slots = stage.sizes, system.slots(stage.sizes.slots)
    drained = drain(stage, system, sizes.jobs, slots, env=env)
    stage.fresh(system)
    return drained | paced(stage, system, sizes.paced, slots, env)


def grow_retained(stage: Stage, system: System) -> dict[str, float]:
    """Measure with ended jobs that are kept; a system that keeps a number of them has that number already."""
    few = both(stage, system)
    sizes, slots = stage.sizes, system.slots(stage.sizes.slots)
    env = {"BENCH_KEEP": str(sizes.grown)}
    count = min(sizes.jobs, system.most or sizes.jobs)
    stage.fresh(system)
    stage.fill(system, SEED, env=env)
    work_off(stage, system, SEED, slots, env)
    clone(stage, system, sizes.grown - SEED)
    stage.fill(system, count, env=env)
    drained = work_off(stage, system, count, slots, env)
    return beside(few, drained | paced(stage, system, sizes.paced, slots, env))


def clone(stage: Stage, system: System, count: int) -> None:
    """Copy a finished job. Raises Failed where there is none."""
    assert system.ended
    client = stage.server.client
    found: list[bytes] = client.zrange(system.ended.indexes[0], 0, 0)  # type: ignore[assignment]
    if not found:
        raise Failed(f"no finished job in {system.ended.indexes[0]}")
    script = client.register_script(CLONE)
    for first in range(0, count, CHUNK):
        last = min(count, first + CHUNK) - 1
        if not script(list(system.ended.indexes), [found[0], first, last, *system.ended.prefixes]):
            raise Failed(f"no keys of the finished job {found[0]!r}")


def grow_waiting(stage: Stage, system: System) -> dict[str, float]:
    """Measure with jobs that wait: a pick-up in another queue, enqueues, and a drain of the first of them."""
    few = both(stage, system)
    sizes, slots = stage.sizes, system.slots(stage.sizes.slots)
    count = min(sizes.jobs, system.most or sizes.jobs)
    few["enqueued_per_s"] = enqueue(stage, system, count, "one")["per_s"]
    stage.fresh(system)
    backlog = {"BENCH_QUEUE": "backlog"}
    stage.fill(system, sizes.grown, env=backlog)
    picked = paced(stage, system, sizes.paced, slots)
    said = stage.produce(system, "one", count, base=sizes.grown, env=backlog)
    drained = work_off(stage, system, count, slots, backlog)
    return beside(few, drained | picked | {"enqueued_per_s": count / said["seconds"]})


def grow_queues(stage: Stage, system: System) -> dict[str, float]:
    """Measure with many queues, each of which gets jobs in turn."""
    return beside(both(stage, system), both(stage, system, {"BENCH_QUEUES": str(stage.sizes.queues)}))


def grow_payload(stage: Stage, system: System, note_bytes: int) -> dict[str, float]:
    """Measure with heavy payloads, fewer of them."""
    sizes, slots = stage.sizes, system.slots(stage.sizes.slots)
    few = drain(stage, system, sizes.heavy, slots) | pick_up(stage, system, sizes.paced, slots)
    env = {"BENCH_NOTE_BYTES": str(note_bytes)}
    many = drain(stage, system, sizes.heavy, slots, env=env)
    stage.fresh(system)
    return beside(few, many | paced(stage, system, sizes.paced, slots, env))
