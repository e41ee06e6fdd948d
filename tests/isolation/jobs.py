"""The application of these tests, as child processes import it: a job does what its payload says."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Never, NoReturn, Protocol

import redis

from jobkit import ContainerView, Job, JobKit, JobResult, Payload, QueueSpec, RateLimit, Retry, processor
from jobkit.errors import Unrecoverable

MIB = 2**20


class Run(Payload[int], name="iso.run", queue="q"):
    """Do something; `url` is where to tell of it."""

    what: str = "nothing"
    url: str = ""
    size: int = 0


class ARun(Payload[int], name="iso.arun", queue="q"):
    """As Run, for an async processor."""

    what: str = "nothing"
    url: str = ""


class Viewed(Payload[list[int]], name="iso.viewed", queue="q"):
    """Look at what the container holds."""

    url: str


class Odd(Exception):
    """An exception that pickle cannot bring back."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"odd {one} {two}")


def enter(job: Job[Any], *more: object) -> None:
    """Tell that the job runs, and in which process."""
    with redis.Redis.from_url(job.payload.url) as server:
        server.rpush("entered", " ".join(map(str, (os.getpid(), *more))))


def wait_told(job: Job[Any]) -> None:
    """Go on when the test says so."""
    enter(job)
    with redis.Redis.from_url(job.payload.url) as server:
        assert server.blpop(["go"], 10)


def die(how: str) -> NoReturn:
    """End this process."""
    match how:
        case "exit":
            os._exit(3)
        case "silent":
            os._exit(0)
        case "segfault":
            ctypes.string_at(0)
        case _:
            os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(how)


def fork_and_terminate() -> int:
    """How a process ends that is ended as multiprocessing ends its own."""
    reader, writer = os.pipe()
    if not (forked := os.fork()):
        try:
            os.write(writer, b"x")
            time.sleep(60)  # reason: it is there to be ended by the signal below
        finally:
            os._exit(1)  # whatever came, it must not go on as its parent
    assert os.read(reader, 1)
    os.kill(forked, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])


def refused(job: Job[Any]) -> JobResult[Never]:
    """Ask somebody who says that it is too often."""
    job.permit(RateLimit(1, per=60), name="crm")
    return job.rate_limited(retry_after=60, reason="429")


@processor(Run)
def run(job: Job[Run]) -> JobResult[int] | int:  # noqa: C901, PLR0912 - a table of what jobs do
    """What the payload says; the id of the process."""
    match job.payload.what:
        case "exit" | "silent" | "segfault" | "kill" as how:
            die(how)
        case "step":
            first = job.step("first", os.getpid)
            if job.attempt == 1:
                die("kill")
            return first
        case "told":
            wait_told(job)
        case "sleep":
            enter(job)
            time.sleep(60)  # reason: a job that does not end, for whoever kills it
        case "loop":  # in C, holding the interpreter
            enter(job)
            sum(range(10**12))
        case "program" | "daemon" as what:
            program = subprocess.Popen(["/bin/sleep", "60"], start_new_session=what == "daemon")
            enter(job, program.pid)
            time.sleep(60)  # reason: a job that does not end, for whoever kills it
        case "fork":  # a process of its own that outlives it
            if not os.fork():
                time.sleep(60)  # reason: a job that does not end, for whoever kills it
            die("kill")
        case "terminate":
            return fork_and_terminate()
        case "memory":
            held = bytearray(job.payload.size * MIB)
            held[::4096] = b"x" * len(held[::4096])
        case "hoard":
            kept = bytearray(job.payload.size * MIB)
            kept[::4096] = b"x" * len(kept[::4096])
            time.sleep(60)  # reason: a job that does not end, for whoever kills it
        case "raise":
            raise ValueError("not today")
        case "odd":
            raise Odd(1, 2)
        case "unrecoverable":
            raise Unrecoverable("never")
        case "follow":
            return JobResult.completed(os.getpid(), then=[ARun()])
        case "enqueue":
            job.progress(50, "half")
            job.enqueue(ARun())
        case "snooze" | "limited" as how if job.epoch == 1:
            return JobResult.snoozed(0, "first") if how == "snooze" else refused(job)
        case "connection":
            port: Any = job._port
            job.progress(1)
            found: int = port._claims.store.client.client_id()
            return found
        case "log":
            logging.getLogger("acme").warning("at work")
    return os.getpid()


@processor(ARun)
async def arun(job: Job[ARun]) -> int:
    """As `run`, on the child's event loop."""
    if job.payload.what == "step":
        return await job.step("first", pid)
    if job.payload.what == "sleep":
        enter(job)
        time.sleep(60)  # noqa: ASYNC251 - reason: a mistake that the timeout has to end
    return os.getpid()


async def pid() -> int:
    """The id of this process."""
    return os.getpid()


class Things:
    """What the container holds."""

    def __init__(self) -> None:
        self.made_in = os.getpid()
        self.url = ""


class HasThings(Protocol):
    """The slice of the view."""

    @property
    def things(self) -> Things:
        """They."""
        ...


class Infrastructure:
    """The slice itself."""

    def __init__(self) -> None:
        self.things = Things()


@processor(Viewed)
async def viewed(job: Job[Viewed], view: ContainerView[None, HasThings, None]) -> list[int]:
    """The process that made the container, and this one."""
    view.infrastructure.things.url = job.payload.url
    return [view.infrastructure.things.made_in, os.getpid()]


@asynccontextmanager
async def container() -> AsyncIterator[ContainerView[None, Infrastructure, None]]:
    """Open a container, and tell when it is closed."""
    infrastructure = Infrastructure()
    yield ContainerView(domain=None, infrastructure=infrastructure, cross_cutting=None)
    with redis.Redis.from_url(infrastructure.things.url) as server:
        server.rpush("closed", os.getpid())


def broken_container() -> NoReturn:
    """A container that cannot be opened."""
    raise ValueError("the database is away")


def create_kit() -> JobKit:
    """The kit of the worker processes of these tests."""
    spec = QueueSpec("q", isolation="process", concurrency=2, retry=Retry(attempts=1))
    return JobKit(queues=[spec], processors=[run, arun])
