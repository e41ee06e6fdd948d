"""Worker processes that are made to be killed; forked from a process that has imported everything."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobkit import Job, JobKit, Payload, QueueSpec, Settings, processor
from jobkit.embedded.guard import die_with_parent
from jobkit.soak.effects import EffectWriter
from tests.chaos.life import LONGEST, Life, kit_of, suspect

CONTEXT = multiprocessing.get_context("forkserver")
WAITS = (0.2, 0.2)
"""Seconds between the attempts of a life, so that who is killed after one does not get the next."""


def life_of(queue: str, folder: Path, **calls: Any) -> Life:
    """A life whose effects go to the file of its queue."""
    writer = EffectWriter(folder / queue)

    def note(what: str, job: Job[Any]) -> None:
        if what == "effect":
            writer.end(job, 0.0)

    return Life(queue, note, **calls, waits=WAITS)


def serve(url: str, queue: str, folder: Path, point: str) -> None:
    """Work until killed at this point, or told to end by the job itself."""
    die_with_parent(os.getppid())()
    logging.disable()
    calls: dict[str, Callable[[Job[Any]], object]] = {
        "renew": lambda _: wait(),
        "put_back": lambda _: (os.kill(os.getpid(), signal.SIGTERM), wait()),
        "try_out": lambda job: suspect(kit, job.id),
    }
    when = {"falter" if point == "try_out" else "linger": calls[point]} if point in calls else {}
    with kit_of(url, life_of(queue, folder, **when), shutdown_timeout=0.0) as kit:
        kit.worker().run()


def wait() -> None:
    """Be there until the process ends."""
    threading.Event().wait(LONGEST)


def start(url: str, queue: str, folder: Path, point: str) -> Any:
    """A victim at work on one queue."""
    CONTEXT.set_forkserver_preload([__name__, "jobkit.worker.worker"])
    process = CONTEXT.Process(target=serve, args=(url, queue, folder, point), daemon=True)
    process.start()
    return process


def start_fatal(url: str) -> Any:
    """A worker whose queue has a job that ends the process."""
    CONTEXT.set_forkserver_preload([__name__, "jobkit.worker.worker"])
    process = CONTEXT.Process(target=serve_fatal, args=(url,), daemon=True)
    process.start()
    return process


def serve_fatal(url: str) -> None:
    """Work until told to end, or until the job kills the process."""
    die_with_parent(os.getppid())()
    logging.disable()
    with fatal_kit(url) as kit:
        kit.worker().run()


SLOTS = 50
"""Of the worker that has the fatal job; one less than these are its neighbours."""


class Fatal(Payload, name="fatal", queue="fatal"):
    """A job that takes its worker down."""


class Neighbour(Payload, name="neighbour", queue="fatal"):
    """A job that is in hand when that happens first."""


def fatal_kit(url: str) -> JobKit:
    """The kit of both. In the first worker all slots are taken when the process ends; later, nothing is waited for."""
    all_in_hand = threading.Barrier(SLOTS)

    @processor(Fatal)
    def fatal(job: Job[Fatal]) -> None:
        # As a fault in native code ends it.
        if job.epoch == 1:
            all_in_hand.wait(LONGEST)
        os.kill(os.getpid(), signal.SIGKILL)

    @processor(Neighbour)
    def neighbour(job: Job[Neighbour]) -> None:
        if job.epoch == 1:
            all_in_hand.wait(LONGEST)
            wait()

    return JobKit(
        Settings(redis_url=url), queues=[QueueSpec("fatal", concurrency=SLOTS)], processors=[fatal, neighbour]
    )
