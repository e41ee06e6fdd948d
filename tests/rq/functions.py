"""What plain RQ clients call in these tests. Each tells what it saw in the list `told`."""

import os
import threading
import time
from types import TracebackType
from typing import Any

import rq
from redis import Redis


def tell(connection: Redis, what: str) -> None:
    """Tell what was seen."""
    connection.rpush("told", what)


def double(n: int) -> int:
    """Give twice the number."""
    return 2 * n


def pid() -> int:
    """Say in which process it runs."""
    job = rq.get_current_job()
    assert job is not None
    return os.getpid()


def fail(message: str = "no") -> None:
    """Raise."""
    raise ValueError(message)


def nothing_json() -> object:
    """Give what JSON cannot hold."""
    return object()


def current() -> dict[str, Any]:
    """Say which job this is, and count in its meta."""
    job = rq.get_current_job()
    assert job is not None
    job.meta["runs"] = job.meta.get("runs", 0) + 1
    job.save_meta()
    return {"id": job.id, "origin": job.origin, "meta": job.meta}


def again(most: int, *intervals: int) -> rq.Retry:
    """Ask for a retry by returning one."""
    return rq.Retry(most, interval=list(intervals) or 0)


def spin(seconds: float) -> None:
    """Call `turn`."""
    job = rq.get_current_job()
    assert job is not None
    turn(job.connection, seconds)


def turn(connection: Redis, seconds: float) -> None:
    """Run Python code, where an interruption lands; tell first that it has begun."""
    tell(connection, "spinning")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def ran(name: str) -> str:
    """Tell that it ran, and in which kind of thread."""
    job = rq.get_current_job()
    assert job is not None
    tell(job.connection, f"ran {name} in {threading.current_thread().name[:10]}")
    return name


def succeeded(job: rq.job.Job, connection: Redis, result: object) -> None:
    """Be an on_success callback."""
    tell(connection, f"success {job.id} {result!r}")


def failed(
    job: rq.job.Job, connection: Redis, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Be an on_failure callback."""
    tell(connection, f"failure {job.id} {kind.__name__}: {error}")


def stopped(job: rq.job.Job, connection: Redis) -> None:
    """Be an on_stopped callback."""
    tell(connection, f"stopped {job.id}")


def waiting_callback(job: rq.job.Job, connection: Redis, *_: object) -> None:
    """Go on only when the test says so, where no interruption lands."""
    tell(connection, "waiting")
    connection.blpop(["go"], timeout=4)


def bad_callback(job: rq.job.Job, connection: Redis, *_: object) -> None:
    """Raise, as a callback."""
    raise RuntimeError("the callback broke")


def slow_callback(job: rq.job.Job, connection: Redis, *_: object) -> None:
    """Take long, as a callback."""
    turn(connection, 30)
