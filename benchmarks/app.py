"""The jobs of the benchmarks: as small as can be, as a thread's, the event loop's, a child process's, and as RQ's."""

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


class ProcessNoop(Payload, name="bench.process-noop", queue="bench-process"):
    """Nothing, in a child process."""

    value: int
    user: str = "u-104233"
    event: str = "invoice.paid"


@processor(Noop)
def noop(job: Job[Noop]) -> None:
    """Do nothing."""


@processor(AsyncNoop)
async def async_noop(job: Job[AsyncNoop]) -> None:
    """Do nothing."""


@processor(ProcessNoop)
def process_noop(job: Job[ProcessNoop]) -> None:
    """Do nothing."""


def rq_noop(value: int, user: str, event: str) -> None:
    """Do nothing, for RQ."""


def kit(url: str, slots: int) -> JobKit:
    """Give a kit with everything on that a user has by default."""
    return JobKit(
        Settings(redis_url=url),
        queues=[
            QueueSpec("bench", concurrency=slots),
            QueueSpec("bench-process", concurrency=slots, isolation="process"),
        ],
        processors=[noop, async_noop, process_noop],
    )
