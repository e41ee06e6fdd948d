"""taskiq on Redis streams with results in Redis, as its guide sets it up."""

from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import jobs

broker = RedisStreamBroker(jobs.URL).with_result_backend(RedisAsyncResultBackend(jobs.URL))
TASKS = {
    "noop": broker.task(task_name="noop")(jobs.async_noop),
    "sleep": broker.task(task_name="sleep")(jobs.async_sleep),
}


class Client:
    """Enqueues."""

    async def open(self) -> None:
        """Connect."""
        await broker.startup()

    async def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        await TASKS[job].kiq(data)

    async def close(self) -> None:
        """Disconnect."""
        await broker.shutdown()
