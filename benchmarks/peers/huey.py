"""huey on Redis: pickle; results kept, as by default, until they are read. It takes a job off before it runs it."""

from typing import Any

from huey import RedisHuey

from benchmarks.peers import jobs

app = RedisHuey("bench", url=jobs.URL)
TASKS = {"noop": app.task(name="noop")(jobs.noop), "sleep": app.task(name="sleep")(jobs.sleep)}


class Client:
    """Enqueues."""

    def open(self) -> None:
        """Connect."""
        app.storage.conn.ping()

    def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        TASKS[job](data)

    def close(self) -> None:
        """Disconnect."""
        app.storage.conn.close()
