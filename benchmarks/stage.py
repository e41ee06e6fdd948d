"""What every measurement stands on: a server, a file of records, a producer and workers of the system."""

import json
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from benchmarks.environments import ROOT
from benchmarks.processes import Worker
from benchmarks.servers import Server
from benchmarks.systems import System

RECORD: Final = struct.Struct("<ddd")
LOOK: Final = 0.005
"""Seconds between two looks at the file of records."""
STALL: Final = 25.0
"""Seconds without a job after which a run has failed."""
PART: Final = 50_000
"""Jobs that one producer makes at once."""
LIMIT: Final = 300.0
"""Seconds after which a run has failed."""


Env = Mapping[str, str]
"""What a run's processes are told besides."""
NONE: Final[Env] = MappingProxyType({})


def last(text: str) -> str:
    """Give the last words of what a process said: an error's own line, where there was one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-400:] if lines else "it said nothing"


class Failed(Exception):
    """The system did not do the work; the message says what was seen."""


@attrs.frozen
class Sizes:
    """How much is measured; the tests make it small."""

    jobs: int = 10_000
    many: int = 50_000
    """Jobs of the long drain."""
    sleeps: int = 1000
    paced: int = 500
    """Jobs of an idle worker."""
    slots: int = 10
    sleep_slots: int = 50
    grown: int = 1_000_000
    """Jobs that are retained, or wait, where growth is measured."""
    queues: int = 1000
    note_bytes: tuple[int, ...] = (10_000, 100_000)
    beside: int = 5000
    """Jobs of the drains where growth is measured."""
    workers: int = 50
    idle_seconds: float = 10.0
    pushes: int = 20
    """Jobs that idle workers get."""
    settle: float = 0.4
    """Seconds from the last job to the last look at what it cost, so that late acknowledgements count."""


@attrs.frozen
class Stage:
    """One run's server and files. `url` may lead through a proxy."""

    server: Server
    url: str
    folder: Path
    sizes: Sizes

    @property
    def records(self) -> Path:
        """The file that jobs write to."""
        return self.folder / "records"

    def fresh(self, system: System, unix: bool = False) -> "Stage":  # noqa: FBT001, FBT002 - the stage of this run
        """Empty the server and the records; give the stage on the server's unix socket, if asked."""
        self.server.empty(system.listpack)
        self.forget()
        return attrs.evolve(self, url=self.server.unix) if unix else self

    def forget(self) -> None:
        """Empty the records."""
        self.records.write_bytes(b"")

    def produce(
        self,
        system: System,
        mode: str,
        count: int,
        *,
        job: str = "noop",
        base: float = 0.0,
        interval: float | None = None,
        env: Env = NONE,
    ) -> dict[str, float]:
        """Run a producer; give what it says of its time."""
        words = ["--mode", mode, "--count", str(count), "--job", job, "--base", str(base)]
        done = subprocess.run(
            system.producer(*words, "--interval", str(interval or system.interval)),
            cwd=ROOT,
            env=system.env(self.url, self.records, self.sizes.slots, env),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode:
            raise Failed(f"the producer ended with {done.returncode}: {last(done.stderr)}")
        said: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return said

    def fill(self, system: System, count: int, *, job: str = "noop", env: Env = NONE) -> None:
        """Enqueue so many, as quickly as the system can, in parts that a producer can hold in memory."""
        mode = "bulk" if system.bulk else "flight" if system.in_flight else "one"
        for start in range(0, count, PART):
            self.produce(system, mode, min(PART, count - start), job=job, base=start, env=env)

    def worker(self, system: System, slots: int, env: Env = NONE) -> Worker:
        """Start a worker; leaving its block ends it."""
        log = self.folder / f"worker-{time.monotonic_ns()}.log"
        return Worker(system.work(slots), ROOT, system.env(self.url, self.records, slots, env), log)

    def done(self) -> int:
        """Say how many jobs have ended."""
        return self.records.stat().st_size // RECORD.size

    def ran(self) -> list[tuple[float, float, float]]:
        """Give the records: value, start, end."""
        content = self.records.read_bytes()
        whole = content[: len(content) // RECORD.size * RECORD.size]
        return [(value, start, end) for value, start, end in RECORD.iter_unpack(whole)]

    def wait(self, worker: Worker, count: int, first: Callable[[int], Any] = lambda _: None) -> None:
        """Wait until so many jobs ended; `first` is told how many had, when the first were seen. Raises Failed."""
        began = moved = time.monotonic()
        seen = 0
        while True:
            ended, now = self.done(), time.monotonic()
            if ended > seen:
                if not seen:
                    first(ended)
                seen, moved = ended, now
            if seen >= count:
                return
            if now - moved > STALL or now - began > LIMIT:
                raise Failed(f"stalled at {seen} of {count} jobs: {last(worker.told())}")
            if not worker.alive():
                raise Failed(f"the worker ended at {seen} of {count} jobs: {last(worker.told())}")
            time.sleep(LOOK)
