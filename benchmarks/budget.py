"""Where the time of a job goes, in microseconds: the server's by command, Python's by what it does for a job.

The server's part is measured by calling `advance` alone, in batches, without a worker; Python's by doing each step for
a hundred jobs that were claimed, again and again, without a server. Told is the least of some rounds: what disturbs a
machine only adds. In a worker both run at once, on cores that may share what they are made of, and take longer.
"""

import argparse
import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.servers import private_server
from jobkit import Job, JobKit, Payload, QueueSpec, Settings, processor
from jobkit.store.channel import ClaimChannel
from jobkit.store.claims import Claims
from jobkit.store.records import Claimed, Finished, QueueRules
from jobkit.worker.attempt import Attempt
from jobkit.worker.fence import ThreadFence
from jobkit.worker.finisher import as_finished
from jobkit.worker.routes import Routes

QUEUE = "budget"
RULES = {QUEUE: QueueRules(keep_done=1000, keep_dead=1000)}
LISTPACK = 512
BATCHES = (1, 10, 50)
HELD = 100
"""Claimed jobs that Python's steps are measured with."""


class Noop(Payload, name="budget.noop", queue=QUEUE):
    """About as much as a small job carries."""

    value: int
    user: str = "u-104233"
    event: str = "invoice.paid"


@processor(Noop)
def noop(job: Job[Noop]) -> None:
    """Do nothing."""


def drained(channel: ClaimChannel, batch: int) -> int:
    """Finish and claim until nothing is left; the number of calls."""
    done: list[Finished] = []
    calls = 0
    while True:
        calls += 1
        claimed = channel.advance(done, {QUEUE: batch}).claimed
        if not claimed:
            return calls
        done = [Finished(each.queue, each.id, each.token, b"null", 1.0, 2.0) for each in claimed]


def server_side(kit: JobKit, client: Any, jobs: int, rounds: int, batch: int) -> tuple[float, dict[str, float]]:
    """Give the script's microseconds a job, and those of the commands in it."""
    found: list[tuple[float, dict[str, float]]] = []
    for number in range(rounds):
        kit.enqueue_many([Noop(value=n) for n in range(jobs)])
        client.config_resetstat()
        channel = Claims(kit.store, f"w{number}", RULES).channel("c")
        drained(channel, batch)
        channel.close()
        stats: dict[str, Any] = client.info("commandstats")
        spent = {key.removeprefix("cmdstat_"): value["usec"] / jobs for key, value in stats.items()}
        whole = spent.pop("evalsha")
        found.append((whole, {key: value for key, value in spent.items() if "|" not in key}))
    return min(found, key=lambda each: each[0])


def least(rounds: int, step: Callable[[], object]) -> float:
    """Give the microseconds a job of a step that is done for `HELD` jobs."""
    best = float("inf")
    for _ in range(max(3, rounds * 10)):
        began = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - began)
    return best / HELD * 1e6


def python_side(kit: JobKit, rounds: int) -> dict[str, float]:
    """Give Python's microseconds a job, by step."""
    kit.enqueue_many([Noop(value=n) for n in range(HELD)])
    worker: Any = kit.worker(QUEUE)
    worker._build()
    pipeline = worker._pipeline
    pipeline.routes = Routes(worker._registry, None)
    channel = Claims(kit.store, "w", RULES).channel("c")
    answers: list[tuple[Any, Any]] = []
    read = channel._batch
    channel._batch = lambda call, reply: answers.append((call, reply)) or read(call, reply)  # type: ignore[method-assign,func-returns-value]
    claimed: Sequence[Claimed] = channel.claim({QUEUE: HELD}, block=0.0).claimed
    channel.close()

    def attempts() -> list[Attempt]:
        made = [pipeline.read(each) for each in claimed]
        for each in made:
            each.fence = ThreadFence()
        return made

    ready = attempts()
    outcomes = [pipeline.run(each) for each in ready]
    for attempt, outcome in zip(ready, outcomes, strict=True):
        attempt.decide(outcome)
    finished = [as_finished(each) for each in ready]

    async def tasks() -> None:
        async def nothing() -> None:
            pass

        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.create_task(nothing(), context=contextvars.Context()) for _ in range(HELD)))

    loop = asyncio.new_event_loop()
    try:
        return {
            "read the answer of a claim": least(rounds, lambda: read(*answers[0])),
            "find what runs the job": least(rounds, lambda: [pipeline.read(each) for each in claimed]),
            "run it: payload, view, context, logs, fence, result": least(
                rounds, lambda: [pipeline.run(each) for each in ready]
            ),
            "a task of its own, where it is async": least(rounds, lambda: loop.run_until_complete(tasks())),
            "describe the finish": least(rounds, lambda: [as_finished(each) for each in ready]),
            "put it into a call": least(rounds, lambda: channel._advance_call(finished, {QUEUE: 10}).packed()),
        }
    finally:
        loop.close()


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench budget", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", choices=["redis", "valkey"], default="redis")
    options = parser.parse_args(arguments)
    with private_server(options.server) as server:
        server.empty(LISTPACK)
        settings = Settings(redis_url=server.unix)
        with JobKit(settings, queues=[QueueSpec(QUEUE)], processors=[noop]) as kit:
            print(f"{options.server} {server.version}, microseconds a job\n")
            for batch in BATCHES:
                whole, inner = server_side(kit, server.client, options.jobs, options.rounds, batch)
                print(f"advance, batches of {batch}: {whole:.1f}, of which its commands {sum(inner.values()):.1f}")
                costs = sorted(inner.items(), key=lambda each: -each[1])[:8]
                print("   " + ", ".join(f"{name} {cost:.1f}" for name, cost in costs))
            steps = python_side(kit, options.rounds)
    print()
    for name, cost in steps.items():
        print(f"{name:55} {cost:5.1f}")
