"""The file in which jobs write what they do: one line a begin and one an end, each appended by a single write."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobkit.jobs import Job


class EffectWriter:
    """A worker process's hand on the file. Times are of the monotonic clock, which a machine's processes share."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begin(self, job: Job[Any]) -> float:
        """An attempt has begun; the time."""
        now = time.monotonic()
        self._write(f"begin {job.id} {job.attempt} {job.epoch} {os.getpid()} {now:.6f} 0")
        return now

    def end(self, job: Job[Any], began: float) -> None:
        """The job's effect: what it was enqueued for is done."""
        self._write(f"end {job.id} {job.attempt} {job.epoch} {os.getpid()} {began:.6f} {time.monotonic():.6f}")

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode() + b"\n")  # whole or not at all: a kill does not cut so short a write


@attrs.frozen
class Effect:
    """One line: an attempt that began (`end` is 0) or had its effect."""

    job: str
    attempt: int
    epoch: int
    pid: int
    begin: float
    end: float


@attrs.frozen
class Effects:
    """What the jobs did, by job and in the order of the file."""

    begins: dict[str, list[Effect]]
    ends: dict[str, list[Effect]]

    @classmethod
    def read(cls, path: Path) -> Effects:
        """The file, or nothing where no job has begun."""
        begins: defaultdict[str, list[Effect]] = defaultdict(list)
        ends: defaultdict[str, list[Effect]] = defaultdict(list)
        for kind, effect in _lines(path):
            (begins if kind == "begin" else ends)[effect.job].append(effect)
        return cls(dict(begins), dict(ends))


def _lines(path: Path) -> Iterator[tuple[str, Effect]]:
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        kind, job, attempt, epoch, pid, begin, end = line.split()
        yield kind, Effect(job, int(attempt), int(epoch), int(pid), float(begin), float(end))
