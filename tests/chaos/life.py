"""A job that goes through every command of a job's life, and the points of that life where something can break."""

from collections.abc import Callable
from typing import Any

import attrs

from jobkit import Job, JobKit, JobResult, Payload, QueueSpec, Settings, draft, processor
from jobkit.policies import Fixed, Retry
from jobkit.processing import Processor

LEASE = 1.0

# Each command of the life below, and which of its calls: a job is claimed twice, for it fails once.
POINTS = [
    ("enqueue", 1),
    ("claim", 1),
    ("hgetall", 1),  # the steps of earlier attempts
    ("save_step", 1),
    ("progress", 1),
    ("fail", 1),
    ("claim", 2),
    ("hgetall", 2),
    ("progress", 2),
    ("renew", 1),
    ("advance", 1),
]
LONGEST = 5.0
"""Seconds that a job waits at most for what the test brings about."""


class FailsOnce(Exception):
    """The first attempt's end."""


@attrs.frozen
class Life:
    """A queue, its job that lives through everything, and the processors.

    `note` is told of each effect (its name, the job); `linger` is called where the second attempt ends.
    """

    queue: str
    note: Callable[[str, Job[Any]], object]
    linger: Callable[[Job[Any]], object] = lambda _: None

    def processors(self) -> list[Processor[Any, ..., Any]]:
        live_payload, after_payload = payloads(self.queue)

        def live(job: Job[Any]) -> JobResult[int]:
            job.step("first", noted, job)
            job.progress(50, "half")
            if job.attempt == 1:
                raise FailsOnce(job.id)
            self.linger(job)
            self.note("effect", job)
            return JobResult.completed(job.epoch, then=[draft(after_payload(), job_id=f"{job.id}-after")])

        def noted(job: Job[Any]) -> int:
            self.note("step", job)
            return 1

        def after(job: Job[Any]) -> None:
            self.note("effect", job)

        # The classes are made for the queue, so only now can the annotations name them.
        live.__annotations__["job"] = Job[live_payload]  # type: ignore[valid-type]
        after.__annotations__["job"] = Job[after_payload]  # type: ignore[valid-type]
        return [processor(live_payload)(live), processor(after_payload)(after)]


def payloads(queue: str) -> tuple[type[Payload[int]], type[Payload[None]]]:
    """The payloads of a queue: the job, and what it enqueues as it finishes."""

    class Live(Payload[int], name=f"live.{queue}", queue=queue):
        pass

    class After(Payload[None], name=f"after.{queue}", queue=queue):
        pass

    return Live, After


def kit_of(url: str, *lives: Life, lease: float = LEASE) -> JobKit:
    """A kit of these lives' queues, which keep everything and retry at once."""
    retry = Retry(attempts=5, backoff=Fixed(0.01))
    queues = [QueueSpec(each.queue, concurrency=4, retry=retry) for each in lives]
    found = [each for life in lives for each in life.processors()]
    return JobKit(Settings(redis_url=url, lease=lease), queues=queues, processors=found)
