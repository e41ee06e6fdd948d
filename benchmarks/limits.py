"""Rate limits and mutexes, seen from outside: workers are killed while they obey them, and somebody else keeps count.

Rate: each attempt writes down when the server says that it was claimed; every window of these times is counted.
Mutex: each attempt takes a lock of the operating system for its key, without waiting, which dies with its process; a
lock that is taken already is two at once.
"""

import argparse
import bisect
import fcntl
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.servers import Server, private_server
from jobkit import Job, JobKit, Payload, QueueSpec, RateLimit, Settings, processor

COUNT: Final = int(os.environ.get("LIMITS_COUNT", "100"))
PER: Final = float(os.environ.get("LIMITS_PER", "1"))
FOLDER: Final = Path(os.environ.get("LIMITS_FOLDER", "."))
LEASE: Final = 3.0
HOLD: Final = 0.05
"""Seconds that a job holds its mutex."""


class Limited(Payload, name="limits.rate", queue="rate"):
    """A job under the rate limit."""


class Single(Payload, name="limits.mutex", queue="mutex", mutex="limits:{key}"):
    """A job of which one runs for each key."""

    key: int


@processor(Limited)
def limited(job: Job[Limited]) -> None:
    """Write down when the server claimed this attempt."""
    with redis.Redis.from_url(os.environ["JOBKIT_REDIS_URL"]) as server:
        claimed = server.hget(f"rq:job:{job.id}", "started_at")
    note("claims", f"{claimed.decode() if claimed else '?'} {job.id} {job.epoch}")


@processor(Single)
def single(job: Job[Single]) -> None:
    """Hold the key's lock for a moment; say so where somebody else holds it."""
    with (FOLDER / f"lock-{job.payload.key}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("two", job.id)
        time.sleep(HOLD)
        note("ran", job.id)


def note(name: str, line: str) -> None:
    """Append a line to a file that all processes share."""
    with (FOLDER / name).open("a") as file:
        file.write(line + "\n")


def create_kit() -> JobKit:
    """Make the kit of the workers, and of who fills the queues."""
    return JobKit(
        Settings(lease=LEASE),
        queues=[QueueSpec("rate", rate_limit=RateLimit(COUNT, per=PER)), QueueSpec("mutex")],
        processors=[limited, single],
    )


@contextmanager
def workers(server: Server, folder: Path, options: argparse.Namespace, queue: str) -> Iterator[list[Any]]:
    """Run so many workers of a queue; whoever is left is stopped at the end."""
    environment = os.environ | {
        "JOBKIT_REDIS_URL": server.unix,
        "LIMITS_COUNT": str(options.count),
        "LIMITS_PER": str(options.per),
        "LIMITS_FOLDER": str(folder),
    }
    command = [sys.executable, "-m", "jobkit", "worker", queue, "--app", "benchmarks.limits:create_kit"]

    def start() -> Any:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    running = [start() for _ in range(options.workers)]

    def kill() -> None:
        victim = running.pop(random.randrange(len(running)))  # noqa: S311 - whom it hits is left to chance
        victim.kill()
        victim.wait()
        running.append(start())

    try:
        yield [kill]
    finally:
        for each in running:
            each.terminate()
        for each in running:
            each.wait(60)


def fill(server: Server, payloads: list[Payload]) -> None:
    """Enqueue these."""
    kit = JobKit(Settings(redis_url=server.unix, lease=LEASE), queues=create_kit().queues)
    with kit:
        kit.enqueue_many(payloads)


def lines(folder: Path, name: str) -> list[str]:
    """Give the lines of a shared file."""
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def until(done: Any, seconds: float, kill: Any, every: float) -> int:
    """Wait until it is done, `seconds` at most, and kill a worker now and then (0: never); how many were killed."""
    end, killed, following = time.monotonic() + seconds, 0, time.monotonic() + every
    while not done() and time.monotonic() < end:
        time.sleep(0.05)
        if every and time.monotonic() > following:
            kill()
            killed += 1
            following += every
    return killed


def rate(server: Server, options: argparse.Namespace) -> str:
    """Run the rate-limited queue, and count every window."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(server, [Limited() for _ in range(int(options.count / options.per * options.seconds * 1.5))])
        with workers(server, folder, options, "rate") as (kill,):
            until(lambda: lines(folder, "claims"), 30, kill, 0)
            killed = until(lambda: False, options.seconds, kill, options.kill_every)
        times = sorted(datetime.fromisoformat(line.split()[0]).timestamp() for line in lines(folder, "claims"))
    most = max(bisect.bisect_left(times, start + options.per) - at for at, start in enumerate(times))
    spent = times[-1] - times[0]
    allowed = options.count * (int(spent / options.per) + 1)
    return (
        f"rate: {len(times)} claims in {spent:.1f} s by {options.workers} workers, {killed} killed; at most {most} in "
        f"any window of {options.per:g} s (allowed: {options.count}); {len(times) / allowed:.1%} of the allowance used"
    )


def mutex(server: Server, options: argparse.Namespace) -> str:
    """Run the queue of singletons, and count those that met another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(server, [Single(key=number % options.keys) for number in range(options.jobs)])
        with workers(server, folder, options, "mutex") as (kill,):

            def done() -> bool:
                return len(set(lines(folder, "ran"))) >= options.jobs

            killed = until(done, options.patience, kill, options.kill_every)
        ran = lines(folder, "ran")
        two = lines(folder, "two")
    return (
        f"mutex: {len(set(ran))} of {options.jobs} jobs ran on {options.keys} keys by {options.workers} workers, "
        f"{killed} killed; {len(ran) - len(set(ran))} twice; two at once: {len(two)}"
    )


def main(arguments: list[str]) -> None:
    """Run both and print."""
    parser = argparse.ArgumentParser(prog="./dev bench limits", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--per", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kill-every", type=float, default=0.0, help="seconds; 0: nobody is killed")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=10)
    parser.add_argument("--patience", type=float, default=120.0)
    parser.add_argument("--server", choices=["redis", "valkey"], default="redis")
    options = parser.parse_args(arguments)
    for measure in (rate, mutex):
        with private_server(options.server) as server:
            print(measure(server, options), flush=True)
