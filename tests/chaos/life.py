"""A job that goes through every command of a job's life, and the points of that life where something can break."""

from collections.abc import Callable
from typing import Any

import attrs
import redis

from jobkit import Job, JobKit, JobResult, Payload, QueueSpec, Settings, draft, processor
from jobkit.policies import Fixed, Retry
from jobkit.processing import Processor
from jobkit.store.scripting import NAMES, script

LEASE = 1.0


@attrs.frozen
class Point:
    """A command of the life below: which of its calls, and for which job (by the end of its id)."""

    name: str
    nth: int = 1
    of: str = ""

    def __str__(self) -> str:
        return f"{self.name}-{self.nth}"


# A job is claimed three times, for it fails once and puts itself off once.
POINTS = [
    Point("push"),
    Point("claim"),
    Point("hgetall"),  # the steps of earlier attempts
    Point("save_step"),
    Point("progress"),
    Point("fail"),
    Point("claim", 2),
    Point("try_out"),  # where the job is made a suspect meanwhile
    Point("hgetall", 2),
    Point("progress", 2),
    Point("snooze"),
    Point("claim", 3),
    Point("renew"),  # where it lingers for that
    Point("put_back"),  # where its worker is told to end
    Point("advance"),
    Point("end", of="-closed"),
]
EXEMPT = {
    "bookkeep": "what a worker says of itself, said again at its next heartbeat",
    "cancel": "an operator's; the caller hears of a lost reply and may ask again",
    "retry": "as cancel",
    "read": "changes nothing",
    "enqueue": "as push, which is a point; with an attempt's token, or for jobs under flow control",
    "set_rules": "a worker's start, said again at the next",
    "unblock": "a sweep's, as promote",
    "pause": "an operator's, as cancel",
    "resume": "an operator's, and a sweep's",
    "lock": "may be repeated with its token",
    "relock": "as lock, and again at the next renewal",
    "unlock": "as lock; one that is lost runs out with its lease",
    "permit": "may be repeated: at worst a permit is counted that nobody uses",
    "peek": "rings a bell, and again at the next look",
    "promote": "a sweep's: atomic, names no job, and the next sweep does what this one did not; claims promote too",
    "rescue": "a sweep's, as promote",
    "stamp": "a sweep's, as promote",
    "trim": "a sweep's, as promote",
}
"""Scripts that are no point of the life, and why."""
LONGEST = 5.0
"""Seconds that a job waits at most for what the test brings about."""


class FailsOnce(Exception):
    """The first attempt's end."""


@attrs.frozen
class Life:
    """A queue, its job that lives through everything, and the processors.

    `note` is told of each effect (its name, the job); `falter` is called where the first attempt ends, and `linger`
    where the last one does. `waits` are the seconds after its failure, and after it put itself off.
    """

    queue: str
    note: Callable[[str, Job[Any]], object]
    falter: Callable[[Job[Any]], object] = lambda _: None
    linger: Callable[[Job[Any]], object] = lambda _: None
    waits: tuple[float, float] = (0.01, 0.0)

    def processors(self) -> list[Processor[Any, ..., Any]]:
        live_payload, after_payload, closed_payload = payloads(self.queue)

        def live(job: Job[Any]) -> JobResult[int]:
            job.step("first", noted, job)
            job.progress(50, "half")
            if job.attempt == 1:
                self.falter(job)
                raise FailsOnce(job.id)
            if job.attempt == 2 and job.epoch == 2:
                return JobResult.snoozed(self.waits[1], "not yet")
            self.linger(job)
            self.note("effect", job)
            return JobResult.completed(job.epoch, then=[draft(after_payload(), job_id=f"{job.id}-after")])

        def noted(job: Job[Any]) -> int:
            self.note("step", job)
            return 1

        def after(job: Job[Any]) -> JobResult[None]:
            self.note("effect", job)
            job_id = job.id.removesuffix("-after")
            return JobResult.completed(None, then=[draft(closed_payload(), job_id=f"{job_id}-closed")])

        def close(job: Job[Any]) -> JobResult[None]:
            self.note("effect", job)
            return JobResult.cancelled("nobody needs it")

        # The classes are made for the queue, so only now can the annotations name them.
        live.__annotations__["job"] = Job[live_payload]  # type: ignore[valid-type]
        after.__annotations__["job"] = Job[after_payload]  # type: ignore[valid-type]
        close.__annotations__["job"] = Job[closed_payload]  # type: ignore[valid-type]
        return [processor(live_payload)(live), processor(after_payload)(after), processor(closed_payload)(close)]

    def on_the_loop(self) -> list[Processor[Any, ..., Any]]:
        """Async processors: their ends are recorded over lanes. The job fails once, enqueues another, and finishes."""
        live_payload, after_payload, _ = payloads(self.queue)

        async def live(job: Job[Any]) -> JobResult[int]:
            if job.attempt == 1:
                raise FailsOnce(job.id)
            self.note("effect", job)
            return JobResult.completed(job.epoch, then=[draft(after_payload(), job_id=f"{job.id}-after")])

        async def after(job: Job[Any]) -> None:
            self.note("effect", job)

        live.__annotations__["job"] = Job[live_payload]  # type: ignore[valid-type]
        after.__annotations__["job"] = Job[after_payload]  # type: ignore[valid-type]
        return [processor(live_payload)(live), processor(after_payload)(after)]


def payloads(queue: str) -> tuple[type[Payload[int]], type[Payload[None]], type[Payload[None]]]:
    """The payloads of a queue: the job, what it enqueues as it finishes, and what that one does."""

    class Live(Payload[int], name=f"live.{queue}", queue=queue):
        pass

    class After(Payload[None], name=f"after.{queue}", queue=queue):
        pass

    class Closed(Payload[None], name=f"closed.{queue}", queue=queue):
        pass

    return Live, After, Closed


def prepare(url: str) -> None:
    """Have the server know the scripts, so that a call of one is one command, and its first reply says it was done.

    And have it look after its timers often: by default a wait of 10 ms takes up to 100.
    """
    with redis.Redis.from_url(url) as client:
        client.config_set("hz", 100)
        for name in NAMES:
            client.script_load(script(name).text)


def suspect(kit: JobKit, job_id: str) -> None:
    """Have a job count as one whose worker died before."""
    client: Any = kit.store.client
    client.hset(kit.store.keys.job(job_id), "jk_rescues", 1)


def kit_of(
    url: str, *lives: Life, lease: float = LEASE, shutdown_timeout: float = 30.0, on_the_loop: bool = False
) -> JobKit:
    """A kit of these lives' queues, which keep everything and retry soon."""
    queues = [
        QueueSpec(each.queue, concurrency=4, retry=Retry(attempts=5, backoff=Fixed(each.waits[0]))) for each in lives
    ]
    found = [each for life in lives for each in (life.on_the_loop() if on_the_loop else life.processors())]
    settings = Settings(redis_url=url, lease=lease, shutdown_timeout=shutdown_timeout)
    return JobKit(settings, queues=queues, processors=found)
