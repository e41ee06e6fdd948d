"""saq: JSON, results kept for ten minutes as by default."""

import asyncio
from typing import Any

import uvloop
from saq import Queue, Worker

from benchmarks.peers import jobs


async def noop(_: object, *, data: dict[str, Any]) -> float:
    """Do nothing."""
    return await jobs.async_noop(data)


async def sleep(_: object, *, data: dict[str, Any]) -> float:
    """Wait."""
    return await jobs.async_sleep(data)


class Client:
    """Enqueues."""

    async def open(self) -> None:
        """Connect."""
        self.queue = Queue.from_url(jobs.URL, name=jobs.QUEUE)
        await self.queue.connect()

    async def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        await self.queue.enqueue(job, data=data)

    async def close(self) -> None:
        """Disconnect."""
        await self.queue.disconnect()


async def _work() -> None:
    queue = Queue.from_url(jobs.URL, name=jobs.QUEUE)
    await queue.connect()
    await Worker(queue, functions=[noop, sleep], concurrency=jobs.CONCURRENCY).start()


def work(_variant: str) -> None:
    """Run a worker."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work())
