"""Celery: JSON, no result backend and acknowledged before it runs, as by default.

BENCH_CELERY=late acknowledges after it ran, and keeps results in Redis.
"""

import os
from typing import Any

from celery import Celery

from benchmarks.peers import jobs

LATE = os.environ.get("BENCH_CELERY") == "late"

app = Celery("bench", broker=jobs.URL, backend=jobs.URL if LATE else None)
app.conf.task_acks_late = LATE
app.conf.broker_connection_retry_on_startup = True
TASKS = {"noop": app.task(name="noop")(jobs.noop), "sleep": app.task(name="sleep")(jobs.sleep)}


class Client:
    """Enqueues."""

    def open(self) -> None:
        """Connect."""
        app.connection_for_write().ensure_connection()

    def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        TASKS[job].apply_async((data,))

    def close(self) -> None:
        """Disconnect."""
        app.close()
