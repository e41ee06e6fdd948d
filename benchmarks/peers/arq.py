"""arq: pickle, results kept for an hour as by default.

The variant `tuned` lowers `poll_delay` from half a second, which bounds the latency, and with it the throughput.
"""

import asyncio
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from benchmarks.peers import jobs

SETTINGS = RedisSettings.from_dsn(jobs.URL)


async def noop(_: object, data: dict[str, Any]) -> float:
    """Do nothing."""
    return await jobs.async_noop(data)


async def sleep(_: object, data: dict[str, Any]) -> float:
    """Wait."""
    return await jobs.async_sleep(data)


class Client:
    """Enqueues."""

    async def open(self) -> None:
        """Connect."""
        self.pool = await create_pool(SETTINGS)

    async def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        await self.pool.enqueue_job(job, data)

    async def close(self) -> None:
        """Disconnect."""
        await self.pool.aclose()


def work(variant: str) -> None:
    """Run a worker."""
    options = {"poll_delay": 0.01} if variant == "tuned" else {}
    asyncio.set_event_loop(uvloop.new_event_loop())
    Worker([noop, sleep], redis_settings=SETTINGS, max_jobs=jobs.CONCURRENCY, **options).run()
