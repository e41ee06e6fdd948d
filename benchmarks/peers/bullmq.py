"""BullMQ for Python: JSON, finished jobs kept for ever as by default."""

import asyncio
from typing import Any

import uvloop
from bullmq import Queue, Worker

from benchmarks.peers import jobs

JOBS = {"noop": jobs.async_noop, "sleep": jobs.async_sleep}


class Client:
    """Enqueues."""

    async def open(self) -> None:
        """Connect."""
        self.queue = Queue(jobs.QUEUE, {"connection": jobs.URL})

    async def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        await self.queue.add(job, data)

    async def bulk(self, job: str, many: list[dict[str, Any]]) -> None:
        """Enqueue many."""
        await self.queue.addBulk([{"name": job, "data": data, "opts": {}} for data in many])

    async def close(self) -> None:
        """Disconnect."""
        await self.queue.close()


async def _process(job: Any, _token: str) -> float:
    return await JOBS[job.name](job.data)


async def _work() -> None:
    Worker(jobs.QUEUE, _process, {"connection": jobs.URL, "concurrency": jobs.CONCURRENCY})
    await asyncio.Event().wait()


def work(_variant: str) -> None:
    """Run a worker."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work())
