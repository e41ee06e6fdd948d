"""The jobs of the benchmarks: as small as a job can be, as a thread's, as the event loop's, and as RQ's."""

from jobkit import Job, JobKit, Payload, QueueSpec, Settings, processor


class Noop(Payload, name="bench.noop", queue="bench"):
    """Nothing, in a thread."""

    value: int
    user: str = "u-104233"
    event: str = "invoice.paid"


class AsyncNoop(Payload, name="bench.async-noop", queue="bench"):
    """Nothing, on the event loop."""

    value: int
    user: str = "u-104233"
    event: str = "invoice.paid"


@processor(Noop)
def noop(job: Job[Noop]) -> None:
    """Do nothing."""


@processor(AsyncNoop)
async def async_noop(job: Job[AsyncNoop]) -> None:
    """Do nothing."""


def rq_noop(value: int, user: str, event: str) -> None:
    """Do nothing, for RQ."""


def kit(url: str, slots: int) -> JobKit:
    """Give a kit with everything on that a user has by default."""
    return JobKit(
        Settings(redis_url=url),
        queues=[QueueSpec("bench", concurrency=slots)],
        processors=[noop, async_noop],
    )
