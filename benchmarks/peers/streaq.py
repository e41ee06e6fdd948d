"""streaQ: pickle, results kept for five minutes as by default."""

import logging
from typing import Any

from streaq import Worker

from benchmarks.peers import jobs

app = Worker(
    redis_url=jobs.URL,
    queue_name=jobs.QUEUE,
    concurrency=jobs.CONCURRENCY,
    anyio_kwargs={"use_uvloop": True},
)


@app.task
async def noop(data: dict[str, Any]) -> float:
    """Do nothing."""
    return await jobs.async_noop(data)


@app.task
async def sleep(data: dict[str, Any]) -> float:
    """Wait."""
    return await jobs.async_sleep(data)


TASKS = {"noop": noop, "sleep": sleep}


class Client:
    """Enqueues."""

    async def open(self) -> None:
        """Connect."""
        await app.__aenter__()

    async def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        await TASKS[job].enqueue(data)

    async def bulk(self, job: str, many: list[dict[str, Any]]) -> None:
        """Enqueue many."""
        await app.enqueue_many([TASKS[job].enqueue(data) for data in many])

    async def close(self) -> None:
        """Disconnect."""
        await app.__aexit__(None, None, None)


def work(_variant: str) -> None:
    """Run a worker."""
    logging.basicConfig(level=logging.WARNING)
    app.run_sync()
