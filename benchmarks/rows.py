"""What is measured, by name: the workloads, and the rows that are read from them."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import attrs

from benchmarks.draining import drain, retained
from benchmarks.enqueueing import enqueue
from benchmarks.growth import growth, with_payload, with_queues, with_retained, with_waiting
from benchmarks.idle import idle
from benchmarks.latency import pick_up, plain
from benchmarks.stage import Stage
from benchmarks.systems import SYSTEMS, System

Placement = Literal["unpinned", "pinned"]
"""Whether everything, the server too, shares one core."""


@attrs.frozen
class Workload:
    """One thing to run, which gives figures by name."""

    name: str
    run: Callable[[Stage, System], dict[str, float]]
    systems: tuple[str, ...]


@attrs.frozen
class Row:
    """One line of the table: figures of a workload, with what they mean."""

    name: str
    title: str
    """With the sizes' names in braces."""
    workload: str
    figures: tuple[str, ...]
    unit: str
    more_is_better: bool = False
    placement: Placement | None = None
    """Where it always runs; None for where it is asked to."""
    bases: tuple[str, ...] = ("bullmq-node", "rq-simple")
    """The first figure is divided by that of these systems in the same round."""


def _all(allowed: Callable[[System], bool] = lambda _: True, *, default_hashes: bool = False) -> tuple[str, ...]:
    """All systems but those that only some rows are about."""
    left_out = () if default_hashes else ("listpack64",)
    return tuple(name for name, each in SYSTEMS.items() if allowed(each) and not name.endswith(("2p", *left_out)))


def _producers(allowed: Callable[[System], bool] = lambda _: True) -> tuple[str, ...]:
    """One system of each client: variants differ in their workers only."""
    clients: dict[tuple[str, str | None, int | None], str] = {}
    for name in _all(allowed, default_hashes=True):
        clients.setdefault((SYSTEMS[name].module, SYSTEMS[name].environment, SYSTEMS[name].listpack), name)
    return tuple(clients.values())


def _drain(stage: Stage, system: System) -> dict[str, float]:
    return drain(stage, system, stage.sizes.jobs, system.slots(stage.sizes.slots))


def _drain_many(stage: Stage, system: System) -> dict[str, float]:
    return drain(stage, system, stage.sizes.many, system.slots(stage.sizes.slots))


def _sleep(stage: Stage, system: System) -> dict[str, float]:
    count = min(stage.sizes.sleeps, 300) if system.fixed_slots else stage.sizes.sleeps
    return drain(stage, system, count, system.slots(stage.sizes.sleep_slots), job="sleep")


def _latency(stage: Stage, system: System) -> dict[str, float]:
    return pick_up(stage, system, _paced(stage, system), system.slots(stage.sizes.slots))


def _latency_unix(stage: Stage, system: System) -> dict[str, float]:
    return pick_up(stage, system, _paced(stage, system), system.slots(stage.sizes.slots), unix=True)


def _paced(stage: Stage, system: System) -> int:
    return max(1, round(stage.sizes.paced * 0.01 / system.interval))


def _plain(stage: Stage, system: System) -> dict[str, float]:
    return plain(stage, system, max(1, stage.sizes.paced // 10), system.slots(stage.sizes.slots))


def _retained(stage: Stage, system: System) -> dict[str, float]:
    return retained(stage, system, stage.sizes.jobs, system.slots(stage.sizes.slots))


def _one(stage: Stage, system: System) -> dict[str, float]:
    return enqueue(stage, system, stage.sizes.jobs, "one")


def _bulk(stage: Stage, system: System) -> dict[str, float]:
    return enqueue(stage, system, stage.sizes.jobs, "bulk")


def _flight(stage: Stage, system: System) -> dict[str, float]:
    return enqueue(stage, system, stage.sizes.jobs, "flight")


def _idle(stage: Stage, system: System) -> dict[str, float]:
    sizes = stage.sizes
    return idle(stage, system, sizes.workers, system.slots(sizes.slots), sizes.idle_seconds)


def _heavy(which: int) -> Callable[[Stage, System], dict[str, float]]:
    return lambda stage, system: with_payload(stage.sizes.note_bytes[which], stage, system)


_GROWN: Final = ("jobkit-async", "jobkit-threads", "bullmq-node", "rq-simple")
_PAIRS: Final = ("jobkit-async", "jobkit-async-2p", "jobkit-threads", "jobkit-threads-2p")

WORKLOADS: Final = {
    each.name: each
    for each in (
        Workload("drain", _drain, _all(default_hashes=True)),
        Workload("drain-50k", _drain_many, _all()),
        Workload("processes", _drain_many, _PAIRS),
        Workload("sleep", _sleep, _all()),
        Workload("latency", _latency, _all()),
        Workload("latency-unix", _latency_unix, _all(lambda each: each.unix)),
        Workload("plain", _plain, ("jobkit-async", "jobkit-threads", "rq-simple", "rq-fork")),
        Workload("enqueue", _one, _producers()),
        Workload("enqueue-bulk", _bulk, _producers(lambda each: each.bulk)),
        Workload("enqueue-flight", _flight, _producers(lambda each: each.in_flight)),
        Workload("finished", _retained, _all(default_hashes=True)),
        Workload("idle", _idle, ("jobkit-async", "jobkit-threads", "bullmq-node", "rq-simple")),
        Workload("retained", partial(growth, with_retained), _GROWN),
        Workload("waiting", partial(growth, with_waiting), _GROWN),
        Workload("queues", partial(growth, with_queues), tuple(name for name in _GROWN if SYSTEMS[name].many_queues)),
        Workload("heavy", partial(growth, _heavy(0)), _GROWN),
        Workload("heavier", partial(growth, _heavy(1)), _GROWN),
    )
}

_TAILS: Final = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
_BESIDE: Final = ("per_s", "few_per_s", "kept", "p50_ms", "few_p50_ms", "redis_cpu_per_10k", "few_redis_cpu_per_10k")

ROWS: Final = {
    each.name: each
    for each in (
        Row("drain", "noop drain of {jobs:,}", "drain", ("per_s",), "jobs/s", more_is_better=True),
        Row("drain-50k", "noop drain of {many:,}", "drain-50k", ("per_s",), "jobs/s", more_is_better=True),
        Row(
            "drain-pinned",
            "noop drain of {jobs:,}, everything on one core",
            "drain",
            ("per_s",),
            "jobs/s",
            more_is_better=True,
            placement="pinned",
        ),
        Row(
            "sleep",
            "{sleeps:,} jobs of 20 ms at {sleep_slots} slots",
            "sleep",
            ("per_s",),
            "jobs/s",
            more_is_better=True,
        ),
        Row("latency", "pick-up by an idle worker, TCP", "latency", _TAILS, "ms"),
        Row("latency-unix", "pick-up by an idle worker, unix socket", "latency-unix", _TAILS, "ms"),
        Row("enqueue", "enqueue one by one", "enqueue", ("per_s",), "jobs/s", more_is_better=True),
        Row("enqueue-bulk", "enqueue in bulk", "enqueue-bulk", ("per_s",), "jobs/s", more_is_better=True),
        Row(
            "enqueue-flight",
            "enqueue, 100 calls in flight",
            "enqueue-flight",
            ("per_s",),
            "jobs/s",
            more_is_better=True,
        ),
        Row("worker-cpu", "worker CPU for 10,000 jobs", "drain", ("worker_cpu_per_10k",), "s"),
        Row("reads", "server reads a job, drain", "drain", ("reads", "commands"), "a job"),
        Row("redis-cpu", "server CPU for 10,000 jobs, drain", "drain", ("redis_cpu_per_10k",), "s"),
        Row("queued-bytes", "server memory of a queued job", "enqueue", ("queued_bytes",), "bytes"),
        Row("finished-bytes", "server memory of a finished job that is kept", "finished", ("finished_bytes",), "bytes"),
        Row("pss", "worker memory (PSS) after a drain", "drain", ("pss_mb", "processes"), "MB"),
        Row(
            "processes",
            "two processes beside one, drain of {many:,}",
            "processes",
            ("per_s",),
            "jobs/s",
            more_is_better=True,
            bases=("jobkit-async", "jobkit-threads"),
        ),
        Row("plain", "a plain RQ client's job, time to its start", "plain", _TAILS, "ms"),
        Row(
            "idle",
            "{workers} idle workers, and a push in one of them",
            "idle",
            ("server_percent", "commands_per_s", "push_cpu_ms", "one_push_cpu_ms", "push_wakeups", "one_push_wakeups"),
            "% of a core",
        ),
        *(
            Row(f"growth-{workload}", title, workload, _BESIDE, "jobs/s", more_is_better=True)
            for workload, title in {
                "retained": "drain with {grown:,} finished jobs kept",
                "waiting": "drain with {grown:,} jobs waiting",
                "queues": "drain of {queues:,} queues",
                "heavy": "drain of payloads of {note_bytes[0]:,} bytes",
                "heavier": "drain of payloads of {note_bytes[1]:,} bytes",
            }.items()
        ),
    )
}
GROUPS: Final = {
    "table": tuple(name for name in ROWS if not name.startswith("growth")),
    "growth": tuple(name for name in ROWS if name.startswith("growth")),
    "throughput": ("drain", "enqueue", "enqueue-bulk"),
}
