"""The jobs of a soak, the kit that runs them, and the worker process around it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs

from jobkit.config import Settings
from jobkit.embedded.guard import die_with_parent
from jobkit.factory import JobKit
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.policies import Fixed, Retention, Retry
from jobkit.processing import Processor, processor
from jobkit.queues import QueueSpec
from jobkit.results import Draft, JobResult, draft
from jobkit.soak.effects import EffectWriter

if TYPE_CHECKING:
    from pathlib import Path

_VARIED = 10
"""Of so many jobs one has steps and a follow-up, one fails once, and every second runs on the event loop."""


@attrs.frozen(kw_only=True)
class Setup:
    """What a worker process is told. `run` names the soak: its queue and its jobs' ids begin with it."""

    url: str
    run: str
    lease: float
    concurrency: int
    keep: int
    folder: Path

    @property
    def effects(self) -> Path:
        """The file of effects."""
        return self.folder / "effects"

    @property
    def log(self) -> Path:
        """The workers' log."""
        return self.folder / "workers.log"


class FailsOnce(Exception):
    """A job of the soak fails its first attempt, as it was enqueued to."""


class Soaked(Payload[int], abstract=True):
    """What a job of a soak carries. It gives back the epoch of the claim that ended it."""

    number: int
    seconds: float


def payloads_of(run: str) -> tuple[type[Soaked], type[Soaked]]:
    """The payloads of a run's queue: for a thread, and for the event loop."""

    class Work(Soaked, name="jobkit.soak", queue=run):
        pass

    class AsyncWork(Soaked, name="jobkit.soak-async", queue=run):
        pass

    return Work, AsyncWork


def drafts_of(run: str, jobs: int, seconds: float) -> list[Draft[Any]]:
    """The run's jobs."""
    work, async_work = payloads_of(run)
    return [draft((async_work if n % 2 else work)(number=n, seconds=seconds), job_id=f"{run}-{n}") for n in range(jobs)]


def follow_ups_of(run: str, jobs: int) -> list[str]:
    """The ids of the follow-ups that the run's jobs enqueue as they finish."""
    return [f"{run}-{n}-next" for n in range(0, jobs, _VARIED)]


def kit_of(setup: Setup) -> JobKit:
    """The kit of a run. What the environment says of other kits' queues does not concern it."""
    settings = Settings(redis_url=setup.url, lease=setup.lease, shutdown_timeout=30.0).model_copy(update={"queues": {}})
    spec = QueueSpec(
        setup.run,
        concurrency=setup.concurrency,
        timeout=300.0,
        retry=Retry(attempts=3, backoff=Fixed(0.05)),
        retention=Retention(completed=setup.keep, failed=setup.keep),
    )
    return JobKit(settings, queues=[spec], processors=_processors(setup))


def _processors(setup: Setup) -> list[Processor[Any, ..., Any]]:
    work, async_work = payloads_of(setup.run)
    effects = EffectWriter(setup.effects)

    def concluded(job: Job[Soaked], began: float) -> JobResult[int]:
        effects.end(job, began)
        if job.payload.number % _VARIED == 0 and not job.id.endswith("-next"):
            follow = work(number=1, seconds=job.payload.seconds)
            return JobResult.completed(job.epoch, then=[draft(follow, job_id=f"{job.id}-next")])
        return JobResult.completed(job.epoch)

    def begun(job: Job[Soaked]) -> float:
        began = effects.begin(job)
        if job.payload.number % _VARIED == _VARIED // 2 and job.attempt == 1:
            raise FailsOnce(job.id)
        return began

    def run(job: Job[Soaked]) -> JobResult[int]:
        began = begun(job)
        if job.payload.number % _VARIED == 0:
            job.step("first", str, job.id)
            job.progress(50, "half")
        time.sleep(job.payload.seconds)
        return concluded(job, began)

    async def arun(job: Job[Soaked]) -> JobResult[int]:
        began = begun(job)
        await asyncio.sleep(job.payload.seconds)
        return concluded(job, began)

    # The classes are made for the run, so only now can the annotations name them.
    run.__annotations__["job"] = Job[work]  # type: ignore[valid-type]
    arun.__annotations__["job"] = Job[async_work]  # type: ignore[valid-type]
    return [processor(work)(run), processor(async_work)(arun)]


def serve(setup: Setup) -> None:
    """What a worker process of the soak does; it ends with the process that started it."""
    die_with_parent(os.getppid())()
    logging.basicConfig(filename=setup.log, level=logging.WARNING, format="%(process)d %(message)s", force=True)
    try:
        with kit_of(setup) as kit:
            code = kit.worker().run()
    except Exception:
        logging.getLogger(__name__).exception("a worker of the soak failed")
        code = 1
    sys.exit(code)
