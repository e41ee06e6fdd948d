"""One measurement each, in a process of its own: `python -m benchmarks.runs WHAT URL JOBS SLOTS` prints JSON."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import redis

from benchmarks.app import AsyncNoop, Noop, ProcessNoop, kit, rq_noop

SAMPLES = 0.005
"""Seconds between two looks at how much is left: a look costs the server two short commands."""


def counters(client: redis.Redis) -> dict[str, float]:
    """Give the server's CPU seconds and its count of reads from clients."""
    info: dict[str, Any] = client.info()
    return {
        "cpu": info["used_cpu_user"] + info["used_cpu_sys"],
        "reads": info.get("total_reads_processed", 0),
    }


def drained(client: redis.Redis, queue: str) -> bool:
    """Tell whether nothing waits and nothing runs."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.llen(f"rq:queue:{queue}")
        pipeline.zcard(f"rq:wip:{queue}")
        return not any(pipeline.execute())


def enqueue_bulk(url: str, jobs: int, slots: int) -> dict[str, float]:
    """Enqueue with the bulk call."""
    with kit(url, slots) as each:
        payloads = [Noop(value=n) for n in range(jobs)]
        each.store.check()
        began = time.perf_counter()
        each.enqueue_many(payloads)
        return {"jobs_per_s": jobs / (time.perf_counter() - began)}


def enqueue_one(url: str, jobs: int, slots: int) -> dict[str, float]:
    """Enqueue one by one."""
    with kit(url, slots) as each:
        payloads = [Noop(value=n) for n in range(jobs)]
        each.store.check()
        began = time.perf_counter()
        for payload in payloads:
            each.enqueue(payload)
        return {"jobs_per_s": jobs / (time.perf_counter() - began)}


def drain(
    url: str, jobs: int, slots: int, payload: type[Noop | AsyncNoop | ProcessNoop], queue: str = "bench"
) -> dict[str, float]:
    """Drain a backlog of one queue with one worker in this process, and in its children."""
    with kit(url, slots) as each:
        each.enqueue_many([payload(value=n) for n in range(jobs)])
        client = redis.Redis.from_url(url)
        worker = each.worker(queue)
        before = counters(client)
        cpu, began = time.process_time(), time.perf_counter()
        worker.start()
        while not drained(client, queue):
            time.sleep(SAMPLES)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        after = counters(client)
        worker.stop()
        worker.join()
    per_10k = 10_000 / jobs
    return {
        "jobs_per_s": jobs / took,
        "worker_cpu_s_per_10k": cpu * per_10k,
        "redis_cpu_s_per_10k": (after["cpu"] - before["cpu"]) * per_10k,
        "reads_per_job": (after["reads"] - before["reads"]) / jobs,
    }


def drain_threads(url: str, jobs: int, slots: int) -> dict[str, float]:
    """Drain with plain processors."""
    return drain(url, jobs, slots, Noop)


def drain_async(url: str, jobs: int, slots: int) -> dict[str, float]:
    """Drain with async processors."""
    return drain(url, jobs, slots, AsyncNoop)


def drain_process(url: str, jobs: int, slots: int) -> dict[str, float]:
    """Drain with a child process a slot; they start within the time, and their CPU is not counted."""
    return drain(url, jobs, slots, ProcessNoop, "bench-process")


def rq_simple(url: str, jobs: int, _slots: int) -> dict[str, float]:
    """Drain with rq's SimpleWorker, which runs one job at a time."""
    from rq import SimpleWorker

    return drain_rq(url, jobs, SimpleWorker)


def rq_forking(url: str, jobs: int, _slots: int) -> dict[str, float]:
    """Drain with rq's Worker, which forks a process for each job, one at a time."""
    from rq import Worker

    return drain_rq(url, jobs, Worker)


def drain_rq(url: str, jobs: int, kind: type[Any]) -> dict[str, float]:
    """Drain with one of rq's workers."""
    from rq import Queue

    client = redis.Redis.from_url(url)
    queue = Queue("rq", connection=client, serializer="json")
    queue.enqueue_many([Queue.prepare_data(rq_noop, (n, "u-104233", "invoice.paid"), timeout=180) for n in range(jobs)])
    worker = kind([queue], connection=client, serializer="json")
    before, cpu, began = counters(client), time.process_time(), time.perf_counter()
    worker.work(burst=True, logging_level="WARNING")
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    after = counters(client)
    per_10k = 10_000 / jobs
    return {
        "jobs_per_s": jobs / took,
        "worker_cpu_s_per_10k": cpu * per_10k,
        "redis_cpu_s_per_10k": (after["cpu"] - before["cpu"]) * per_10k,
        "reads_per_job": (after["reads"] - before["reads"]) / jobs,
    }


RUNS: dict[str, Callable[[str, int, int], dict[str, float]]] = {
    "enqueue-bulk": enqueue_bulk,
    "enqueue-one": enqueue_one,
    "drain-threads": drain_threads,
    "drain-async": drain_async,
    "drain-process": drain_process,
    "rq-simple": rq_simple,
    "rq-forking": rq_forking,
}

if __name__ == "__main__":
    what, url, jobs, slots = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    redis.Redis.from_url(url).flushall()
    print(json.dumps(RUNS[what](url, jobs, slots)))
