"""Run one role of one system: `python -m benchmarks.peers.run rq produce --mode one --count 10000`, `... rq work`."""

import argparse
import asyncio
import importlib
import inspect
import json
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from benchmarks.peers import jobs

BULK = 1000
"""Jobs in one bulk call."""
FLIGHT = 100
"""Enqueues that an asynchronous client has in flight at once."""


def cpu() -> float:
    """Give the CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Watch:
    """Measures its block, in seconds and in CPU seconds."""

    seconds = 0.0
    cpu = 0.0

    def __enter__(self) -> Self:
        self._began, self._cpu = time.monotonic(), cpu()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu = time.monotonic() - self._began, cpu() - self._cpu


def chunks(many: list[Any], size: int) -> Iterator[list[Any]]:
    """Give the list in parts."""
    return (many[start : start + size] for start in range(0, len(many), size))


def made(client: Any, job: str, value: float) -> Any:
    """Make what the client is given: the data as it is, or what the library makes of it."""
    data = jobs.data(value)
    return client.prepare(job, data) if hasattr(client, "prepare") else data


def prepared(client: Any, options: argparse.Namespace) -> list[Any]:
    """Make all of it beforehand, since making it is no part of the enqueue; but paced jobs carry their time."""
    if options.mode == "paced":
        return []
    return [made(client, options.job, options.base + number) for number in range(options.count)]


def produce(client: Any, options: argparse.Namespace) -> Watch:
    """Enqueue with a client of plain functions."""
    many = prepared(client, options)
    client.open()
    with Watch() as watch:
        if options.mode == "bulk":
            for part in chunks(many, BULK):
                client.bulk(options.job, part)
        elif options.mode == "one":
            for each in many:
                client.enqueue(options.job, each)
        elif options.mode == "paced":
            began = time.monotonic()
            for number in range(options.count):
                time.sleep(max(0.0, began + number * options.interval - time.monotonic()))
                client.enqueue(options.job, made(client, options.job, time.monotonic()))
        else:
            raise SystemExit(f"mode {options.mode} wants an asynchronous client")
    client.close()
    return watch


async def aproduce(client: Any, options: argparse.Namespace) -> Watch:
    """Enqueue with a client of coroutines."""
    many = prepared(client, options)
    await client.open()
    with Watch() as watch:
        if options.mode == "bulk":
            for part in chunks(many, BULK):
                await client.bulk(options.job, part)
        elif options.mode == "one":
            for each in many:
                await client.enqueue(options.job, each)
        elif options.mode == "flight":
            for part in chunks(many, FLIGHT):
                await asyncio.gather(*(client.enqueue(options.job, each) for each in part))
        else:
            began = time.monotonic()
            for number in range(options.count):
                await asyncio.sleep(max(0.0, began + number * options.interval - time.monotonic()))
                await client.enqueue(options.job, made(client, options.job, time.monotonic()))
    await client.close()
    return watch


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give uvloop where the peer's environment has it."""
    try:
        import uvloop
    except ImportError:
        return None
    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made


def main() -> None:
    """Run the role."""
    parser = argparse.ArgumentParser()
    parser.add_argument("system")
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("work").add_argument("variant", nargs="?", default="")
    producer = roles.add_parser("produce")
    producer.add_argument("--mode", choices=["one", "bulk", "flight", "paced"], required=True)
    producer.add_argument("--count", type=int, required=True)
    producer.add_argument("--job", choices=["noop", "sleep"], default="noop")
    producer.add_argument("--base", type=float, default=0.0)
    producer.add_argument("--interval", type=float, default=0.01)
    options = parser.parse_args()
    module = importlib.import_module(f"benchmarks.peers.{options.system}")
    if options.role == "work":
        module.work(options.variant)
        return
    client = module.Client()
    if inspect.iscoroutinefunction(client.enqueue):
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            watch = runner.run(aproduce(client, options))
    else:
        watch = produce(client, options)
    print(json.dumps({"count": options.count, "seconds": watch.seconds, "cpu": watch.cpu}))


if __name__ == "__main__":
    main()
