"""The systems that are measured: how to start a producer and a worker of each."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from benchmarks.environments import ENVIRONMENTS, ROOT

LISTPACK: Final = 512
"""`hash-max-listpack-value` as jobkit's embedded server has it: bytes to which a field of a packed hash may grow."""


@attrs.frozen
class Ended:
    """Where a system keeps finished jobs: the sorted set that names them, and what its keys of one job begin with."""

    index: str
    prefixes: tuple[str, ...]


@attrs.frozen(kw_only=True)
class System:
    """One system in one of its variants."""

    name: str
    module: str
    """Of `benchmarks.peers`; without `.py` or `.js`."""
    environment: str | None = None
    """Which of the peers' environments it needs; None for the one that the benchmarks run in."""
    worker: tuple[str, ...] = ()
    """What the interpreter is given to run a worker, `{slots}` for how many jobs it runs at a time."""
    listpack: int | None = None
    """The server's `hash-max-listpack-value`; None for its default."""
    fixed_slots: bool = False
    """It runs one job at a time, whatever is asked."""
    bulk: bool = False
    in_flight: bool = False
    """Its client is asynchronous, so that several enqueues may be under way at once."""
    most: int | None = None
    """Jobs of a drain at most, for those that would take minutes."""
    interval: float = 0.01
    """Seconds between two jobs of an idle worker; longer where one job takes longer."""
    own_env: tuple[tuple[str, str], ...] = ()
    unix: bool = False
    """It can use a unix socket."""
    many_queues: bool = False
    ended: Ended | None = None
    """Where it keeps ended jobs, for those that are measured with many of them."""

    @property
    def available(self) -> bool:
        """Say whether it can run here."""
        return self.environment is None or ENVIRONMENTS[self.environment].made

    @property
    def _program(self) -> list[str]:
        if self.environment is None:
            return [sys.executable]
        environment = ENVIRONMENTS[self.environment]
        if environment.node:
            return [environment.program, str(ROOT / f"benchmarks/peers/{self.module}.js"), str(environment.folder)]
        return [environment.program]

    @property
    def _node(self) -> bool:
        return self.environment is not None and ENVIRONMENTS[self.environment].node

    def producer(self, *words: str) -> list[str]:
        """Give the command of a producer."""
        if self._node:
            return [*self._program, "produce", *words]
        return [*self._program, "-m", "benchmarks.peers.run", self.module, "produce", *words]

    def work(self, slots: int) -> list[str]:
        """Give the command of a worker."""
        if self._node:
            return [*self._program, "work"]
        return [*self._program, *(word.format(slots=slots) for word in self.worker)]

    def slots(self, asked: int) -> int:
        """Give how many jobs it runs at a time when so many are asked for."""
        return 1 if self.fixed_slots else asked

    def env(self, url: str, records: Path, slots: int, more: Mapping[str, str]) -> dict[str, str]:
        """Give the environment of its processes: nothing of jobkit's or of Python's own that the caller has set."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("JOBKIT_", "PYTHON", "BENCH_"))}
        return (
            kept
            | {
                "PYTHONPATH": str(ROOT),
                "BENCH_URL": url,
                "JOBKIT_REDIS_URL": url,
                "BENCH_RECORDS": str(records),
                "BENCH_CONCURRENCY": str(slots),
            }
            | dict(self.own_env)
            | dict(more)
        )


def _jobkit(variant: str, processes: int = 1) -> System:
    words = ["-m", "jobkit", "worker", "--app", "benchmarks.peers.jobkit:create_kit"]
    return System(
        name=f"jobkit-{variant}" if processes == 1 else f"jobkit-{variant}-{processes}p",
        module="jobkit",
        worker=tuple(words if processes == 1 else [*words, "--processes", str(processes)]),
        listpack=LISTPACK,
        bulk=True,
        own_env=(("BENCH_VARIANT", variant),),
        unix=True,
        many_queues=True,
        ended=Ended("rq:finished:bench", ("rq:job:", "rq:results:")),
    )


def _run(module: str, *variant: str) -> tuple[str, ...]:
    return ("-m", "benchmarks.peers.run", module, "work", *variant)


_RQ: Final = System(
    name="rq-simple",
    module="rq",
    worker=_run("rq"),
    fixed_slots=True,
    bulk=True,
    most=2000,
    unix=True,
    many_queues=True,
    ended=Ended("rq:finished:bench", ("rq:job:", "rq:results:")),
)
_ARQ: Final = System(
    name="arq", module="arq", environment="arq", worker=_run("arq", "tuned"), in_flight=True, most=5000
)
_CELERY: Final = System(
    name="celery",
    module="celery",
    environment="celery",
    worker=(
        *("-m", "celery", "-A", "benchmarks.peers.celery", "worker"),
        *("-P", "threads", "-c", "{slots}", "-l", "WARNING"),
    ),
    most=5000,
)

SYSTEMS: Final = {
    each.name: each
    for each in (
        _jobkit("async"),
        _jobkit("threads"),
        _jobkit("isolated"),
        _jobkit("async", 2),
        _jobkit("threads", 2),
        attrs.evolve(_jobkit("async"), name="jobkit-async-listpack64", listpack=None),
        System(
            name="bullmq-node",
            module="bullmq",
            environment="bullmq-node",
            bulk=True,
            in_flight=True,
            ended=Ended("bull:bench:completed", ("bull:bench:",)),
        ),
        System(
            name="bullmq-py",
            module="bullmq",
            environment="bullmq-py",
            worker=_run("bullmq"),
            bulk=True,
            in_flight=True,
        ),
        System(
            name="dramatiq",
            module="dramatiq",
            environment="dramatiq",
            worker=("-m", "dramatiq", "benchmarks.peers.dramatiq", "--processes", "1", "--threads", "{slots}"),
        ),
        System(
            name="huey",
            module="huey",
            environment="huey",
            worker=("-m", "huey.bin.huey_consumer", "benchmarks.peers.huey.app", "-k", "thread", "-w", "{slots}", "-q"),
        ),
        _ARQ,
        System(
            name="streaq",
            module="streaq",
            environment="streaq",
            worker=_run("streaq"),
            bulk=True,
            in_flight=True,
            most=5000,
        ),
        System(name="saq", module="saq", environment="saq", worker=_run("saq"), in_flight=True),
        _CELERY,
        attrs.evolve(_CELERY, name="celery-late", own_env=(("BENCH_CELERY", "late"),)),
        System(
            name="taskiq",
            module="taskiq",
            environment="taskiq",
            worker=(
                *("-m", "taskiq", "worker", "benchmarks.peers.taskiq:broker", "--workers", "1"),
                *("--max-async-tasks", "{slots}", "--log-level", "WARNING"),
            ),
            in_flight=True,
        ),
        _RQ,
        attrs.evolve(_RQ, name="rq-fork", worker=_run("rq", "fork"), most=300, interval=0.05),
    )
}
JOBKIT: Final = tuple(name for name in SYSTEMS if name.startswith("jobkit"))


def chosen(names: list[str]) -> tuple[list[System], list[str]]:
    """Give the systems of these names that can run here, and the names of those that cannot.

    Raises KeyError for a name that there is not.
    """
    wanted = [SYSTEMS[name] for name in names]
    return [each for each in wanted if each.available], [each.name for each in wanted if not each.available]
