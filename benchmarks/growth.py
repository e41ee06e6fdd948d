"""The drain and the pick-up where there is a lot: ended jobs, waiting jobs, queues, bytes; beside a little of it."""

from collections.abc import Callable
from typing import Final

from benchmarks.draining import work_off
from benchmarks.latency import paced, warm
from benchmarks.processes import Worker
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
local score = redis.call('ZSCORE', KEYS[1], source)
for number = first, last do
  local id = source .. '-' .. number
  for _, copy in ipairs(copies) do redis.call('RESTORE', copy[1] .. id, copy[3], copy[2]) end
  redis.call('ZADD', KEYS[1], score, id)
end
return #copies
"""
"""Copies a finished job's keys under new ids, and enters them where the job is entered."""


def growth(many: Callable[[Stage, System], dict[str, float]], stage: Stage, system: System) -> dict[str, float]:
    """Measure with a little, then with a lot; tell both, and what is left of the speed."""
    few = with_little(stage, system)
    figures = many(stage, system)
    compared = {f"few_{key}": few[key] for key in figures if key in few}
    return figures | compared | {"kept": figures["per_s"] / few["per_s"]}


def with_little(stage: Stage, system: System, env: Env = NONE) -> dict[str, float]:
    """Measure on an empty server."""
    stage.fresh(system)
    return drain_and_pick_up(stage, system, env)


def drain_and_pick_up(stage: Stage, system: System, env: Env = NONE) -> dict[str, float]:
    """Drain, then pick up with the same worker, on the server as it is."""
    sizes = stage.sizes
    count = min(sizes.beside, system.most or sizes.beside)
    stage.fill(system, count, env=env)

    def then(worker: Worker) -> dict[str, float]:
        return warm(stage, system, worker, sizes.paced, env)

    return work_off(stage, system, count, system.slots(sizes.slots), env, then)


def with_retained(stage: Stage, system: System) -> dict[str, float]:
    """Measure with finished jobs that are kept; a system that keeps a number of them has that number already."""
    sizes, slots = stage.sizes, system.slots(stage.sizes.slots)
    env = {"BENCH_KEEP": str(sizes.grown)}
    stage.fresh(system)
    stage.fill(system, SEED, env=env)
    work_off(stage, system, SEED, slots, env)
    clone(stage, system, sizes.grown - SEED)
    return drain_and_pick_up(stage, system, env)


def clone(stage: Stage, system: System, count: int) -> None:
    """Copy a finished job. Raises Failed where there is none."""
    assert system.ended
    client = stage.server.client
    found: list[bytes] = client.zrange(system.ended.index, 0, 0)  # type: ignore[assignment]
    if not found:
        raise Failed(f"no finished job in {system.ended.index}")
    script = client.register_script(CLONE)
    for first in range(0, count, CHUNK):
        last = min(count, first + CHUNK) - 1
        if not script([system.ended.index], [found[0], first, last, *system.ended.prefixes]):
            raise Failed(f"no keys of the finished job {found[0]!r}")


def with_waiting(stage: Stage, system: System) -> dict[str, float]:
    """Measure with jobs that wait: a pick-up in another queue, and a drain of the first of them."""
    sizes, slots = stage.sizes, system.slots(stage.sizes.slots)
    count = min(sizes.beside, system.most or sizes.beside)
    stage.fresh(system)
    backlog = {"BENCH_QUEUE": "backlog"}
    stage.fill(system, sizes.grown, env=backlog)
    picked = paced(stage, system, sizes.paced, slots)
    return picked | work_off(stage, system, count, slots, backlog)


def with_queues(stage: Stage, system: System) -> dict[str, float]:
    """Measure with many queues, each of which gets jobs in turn."""
    return with_little(stage, system, {"BENCH_QUEUES": str(stage.sizes.queues)})


def with_payload(note_bytes: int, stage: Stage, system: System) -> dict[str, float]:
    """Measure with heavy payloads."""
    return with_little(stage, system, {"BENCH_NOTE_BYTES": str(note_bytes)})
