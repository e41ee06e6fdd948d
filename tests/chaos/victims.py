"""Worker processes that are made to be killed; forked from a process that has imported everything."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobkit import Job
from jobkit.embedded.guard import die_with_parent
from jobkit.soak.effects import EffectWriter
from tests.chaos.life import LONGEST, Life, kit_of

CONTEXT = multiprocessing.get_context("forkserver")


def life_of(queue: str, folder: Path, linger: Callable[[Job[Any]], object] = lambda _: None) -> Life:
    """A life whose effects go to the file of its queue."""
    writer = EffectWriter(folder / queue)

    def note(what: str, job: Job[Any]) -> None:
        if what == "effect":
            writer.end(job, 0.0)

    return Life(queue, note, linger)


def serve(url: str, queue: str, folder: Path, lingers: bool) -> None:  # noqa: FBT001 - a process's argument
    """Work until killed. A job that lingers does so until the kill, which is brought about meanwhile."""
    die_with_parent(os.getppid())()
    logging.disable()
    linger = (lambda _: threading.Event().wait(LONGEST)) if lingers else (lambda _: None)
    with kit_of(url, life_of(queue, folder, linger)) as kit:
        kit.worker().run()


def start(url: str, queue: str, folder: Path, *, lingers: bool) -> Any:
    """A victim at work on one queue."""
    CONTEXT.set_forkserver_preload([__name__, "jobkit.worker.worker"])
    process = CONTEXT.Process(target=serve, args=(url, queue, folder, lingers), daemon=True)
    process.start()
    return process
