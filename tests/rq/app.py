"""An application whose jobs a plain RQ worker and a jobkit worker share."""

import os

from redis import Redis

from jobkit import Job, JobKit, Payload, QueueSpec, processor


class Count(Payload[int], name="count", queue="shared"):
    n: int


def count(kind: str, n: int) -> int:
    """Count the run, and tell that it was."""
    redis = Redis.from_url(os.environ["JOBKIT_REDIS_URL"])
    with redis:
        redis.hincrby("runs", f"{kind}-{n}", 1)
        redis.rpush("told", os.getpid())
    return n


@processor(Count)
def counted(job: Job[Count]) -> int:
    """Count as a jobkit job."""
    return count("ours", job.payload.n)


def create_kit() -> JobKit:
    """Give the application."""
    return JobKit(queues=[QueueSpec("shared", concurrency=4)], processors=[counted])
