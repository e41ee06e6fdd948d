"""rq: results kept for 500 seconds, pickle, as by default; the variant `json` enqueues JSON, for a jobkit worker."""

import itertools
import os
from typing import Any

import redis
from rq import Queue, SimpleWorker, Worker

from benchmarks.peers import jobs

JOBS = {"noop": jobs.noop, "sleep": jobs.sleep}
WORKERS = {"": SimpleWorker, "fork": Worker}


class Client:
    """Enqueues; to several queues, one after another."""

    def open(self) -> None:
        """Connect."""
        self.connection = redis.Redis.from_url(jobs.URL)
        self.connection.ping()
        serializer = os.environ.get("BENCH_RQ_SERIALIZER")
        self.queues = [Queue(name, connection=self.connection, serializer=serializer) for name in jobs.names()]
        self.turn = itertools.cycle(self.queues)

    def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        next(self.turn).enqueue(JOBS[job], data)

    def bulk(self, job: str, many: list[dict[str, Any]]) -> None:
        """Enqueue many."""
        for start, queue in enumerate(self.queues):
            if part := many[start :: len(self.queues)]:
                queue.enqueue_many([Queue.prepare_data(JOBS[job], args=(data,)) for data in part])

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()


def work(variant: str) -> None:
    """Run a worker."""
    WORKERS[variant](jobs.names(), connection=redis.Redis.from_url(jobs.URL)).work(logging_level="WARNING")
