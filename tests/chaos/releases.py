"""Two releases of one application, and worker processes of either; forked from a process that has imported both."""

import logging
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

from jobkit import Job, JobKit, Payload, QueueSpec, Settings, processor
from jobkit.embedded.guard import die_with_parent
from jobkit.soak.effects import EffectWriter
from tests.chaos.life import LEASE, LONGEST

QUEUE = "mixed"
HELD = -1
"""The number of a job that the old release does not end."""
STARTS = 20.0
CONTEXT = multiprocessing.get_context("forkserver")


class OldKept(Payload[str], name="mixed.kept", queue=QUEUE):
    """As the old release knows it."""

    n: int


class NewKept(Payload[str], name="mixed.kept", queue=QUEUE, version=2):
    """The same job in the new release, which brings old data along."""

    n: int
    unit: str

    @classmethod
    def upgrade(cls, data: dict[str, Any], version: int) -> dict[str, Any]:
        """Version 1 had no unit."""
        return {"unit": "old", **data} if version == 1 else data


class OldWider(Payload[str], name="mixed.wider", queue=QUEUE):
    """As the old release knows it."""

    n: int


class NewWider(Payload[str], name="mixed.wider", queue=QUEUE):
    """The same in the new release: a field more, and no new version, since the field has a default."""

    n: int
    extra: str = ""


class Added(Payload[str], name="mixed.added", queue=QUEUE):
    """A job of the new release alone."""

    n: int


def kit_of(url: str, release: str, folder: Path | None = None) -> JobKit:
    """The kit of a release; it has processors, which note their effects in the folder, where it is to work."""
    found = [] if folder is None else (old if release == "old" else new)(EffectWriter(folder / release))
    return JobKit(
        Settings(redis_url=url, lease=LEASE), queues=[QueueSpec(QUEUE, concurrency=4)], processors=list(found)
    )


def old(effects: EffectWriter) -> list[Any]:
    """The old release's processors."""

    @processor(OldKept)
    def kept(job: Job[OldKept]) -> str:
        if job.payload.n == HELD:
            threading.Event().wait(LONGEST)
        effects.end(job, 0.0)
        return "old"

    @processor(OldWider)
    def wider(job: Job[OldWider]) -> str:
        effects.end(job, 0.0)
        return "old"

    return [kept, wider]


def new(effects: EffectWriter) -> list[Any]:
    """The new release's processors."""

    @processor(NewKept)
    def kept(job: Job[NewKept]) -> str:
        effects.end(job, 0.0)
        return f"new, {job.payload.unit}"

    @processor(NewWider)
    def wider(job: Job[NewWider]) -> str:
        effects.end(job, 0.0)
        return "new"

    @processor(Added)
    def added(job: Job[Added]) -> str:
        effects.end(job, 0.0)
        return "new"

    return [kept, wider, added]


def start(url: str, release: str, folder: Path) -> Any:
    """A worker process of a release, which claims by now."""
    CONTEXT.set_forkserver_preload([__name__, "jobkit.worker.worker"])
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=serve, args=(url, release, folder, ready), daemon=True)
    process.start()
    assert ready.wait(STARTS)
    return process


def serve(url: str, release: str, folder: Path, ready: Any) -> None:
    """Work until told to end."""
    die_with_parent(os.getppid())()
    logging.disable()
    with kit_of(url, release, folder) as kit:
        worker = kit.worker()
        worker.on_change = ready.set
        worker.run()
