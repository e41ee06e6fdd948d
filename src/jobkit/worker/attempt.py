"""One attempt as a value that goes through named steps: read, bind, call, conclude, judge. No Redis here.

`Pipeline.read` looks at a claimed job and finds what will run it; `run` (in a thread) or `arun` (on the event loop)
calls it in an empty context and answers an outcome. Whatever goes wrong on the way is an outcome too: nothing but the
end of the process escapes.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import attrs
from structlog.contextvars import bind_contextvars

from jobkit import di
from jobkit.errors import CorruptJob, JobkitError, Parked, UnknownJobName, Unrecoverable
from jobkit.jobs import Job, running_job
from jobkit.payloads import decode
from jobkit.policies import Retry
from jobkit.results import as_draft
from jobkit.store.codec import Extra, VanillaCall, unpack_data, unpack_extra
from jobkit.worker.fence import ThreadFence
from jobkit.worker.outcomes import Completed, Ended, Failed, Outcome, Snoozed
from jobkit.worker.tracebacks import clip
from jobkit.worker.vanilla import NO_TERMS
from jobkit.worker.verdicts import Budget, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobkit.ports import ClaimPort
    from jobkit.queues import QueueSet
    from jobkit.results import Draft, JobResult
    from jobkit.store.records import Claimed, NewJob
    from jobkit.worker.fence import Fence
    from jobkit.worker.routes import Route, Routes
    from jobkit.worker.vanilla import Vanilla

NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})
NO_EXTRA: Final = Extra(tags=NO_TAGS)
EXTRAS: Final = 256
"""How many different retry policies are kept read."""
CONTEXTS: Final = 1024
"""How many names of jobs have their context kept; a plain RQ client may bring any."""


@attrs.define(eq=False, slots=True)
class Attempt:
    """One claimed job on its way through the worker.

    `decide` settles how it ended, once: the thread that ran it, the watchdog that gave it up and a lost claim may all
    want to. `over` says that its thread or task has left it; until then its slot is taken.
    """

    claimed: Claimed
    name: str = ""
    timeout: float | None = None
    route: Route | None = None
    call: VanillaCall | None = None
    version: int = 0
    payload: bytes = b""
    extra: Extra = NO_EXTRA
    fence: Fence = attrs.field(init=False)
    ident: int | None = None
    began: float | None = None
    started: float = 0.0
    ended: float = 0.0
    job: Job[Any] | None = None
    result: JobResult[Any] | None = None
    outcome: Outcome | None = None
    over: bool = False
    dropped: bool = False
    _verdict: list[bool] = attrs.field(init=False, factory=lambda: [True])

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop."""
        return self.route is not None and self.route.is_async

    @property
    def undecided(self) -> bool:
        """Whether nobody has settled how it ended."""
        return bool(self._verdict)

    def decide(self, outcome: Outcome) -> bool:
        """Settle how it ended; False when that was settled before."""
        if self.withdraw():
            self.outcome = outcome
            return True
        return False

    def withdraw(self) -> bool:
        """Settle that nothing will be recorded; False when it was settled before."""
        try:
            self._verdict.pop()
        except IndexError:
            return False
        return True

    def part(self) -> None:
        """Let go of the job, once the end is recorded.

        The two hold one another, and what is in a cycle stays in memory until the collector looks for it: of many short
        jobs that took a sixth of the worker's time.
        """
        self.job = self.result = None

    def log_fields(self) -> dict[str, Any]:
        """What names it in a log line."""
        claimed = self.claimed
        fields: dict[str, Any] = {
            "job_id": claimed.id,
            "job_name": self.name,
            "queue": claimed.queue,
            "attempt": claimed.failed + 1,
        }
        if self.extra.tags:
            fields["tags"] = dict(self.extra.tags)
        if self.ended:
            fields["duration_s"] = round(self.ended - self.started, 3)
        return fields


@attrs.define(kw_only=True)
class Pipeline:
    """What an attempt needs on its way.

    Args:
        routes: which processor runs a job; set once the container is open.
        queues: the queues' specs, for what a job does not carry itself.
        make_port: gives a job its fenced way to the store.
        new_job: a follow-up as the store writes it.
        vanilla: runs the jobs of plain RQ clients.
        chance: randomness for the jitter of retries.

    """

    queues: QueueSet
    make_port: Callable[[Attempt], ClaimPort]
    new_job: Callable[[Draft[Any]], NewJob]
    vanilla: Vanilla
    chance: Callable[[], float] = random.random
    routes: Routes = attrs.field(init=False)
    _extras: dict[bytes, Extra] = attrs.field(init=False, factory=dict[bytes, Extra])
    _contexts: dict[tuple[str, str], contextvars.Context] = attrs.field(
        init=False, factory=dict[tuple[str, str], contextvars.Context]
    )

    def read(self, claimed: Claimed) -> Attempt:
        """An attempt of the job; decided already where its record says enough."""
        attempt = Attempt(claimed, timeout=self._timeout(claimed))
        try:
            self._read(attempt)
        except Exception as error:  # noqa: BLE001 - every error is an outcome
            attempt.started = attempt.ended = time.time()
            attempt.decide(self.judge(attempt, error))
        return attempt

    def run(self, attempt: Attempt) -> Outcome:
        """Run it in this thread."""
        attempt.began, attempt.started = time.monotonic(), time.time()
        try:
            outcome = self.context(attempt).run(self._run, attempt)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a processor does not end the worker
            outcome = self.judge(attempt, error)
        attempt.ended = time.time()
        return outcome

    def context(self, attempt: Attempt) -> contextvars.Context:
        """What the attempt runs in: a context that is empty but for what names it in log lines.

        What all jobs of a name have in common is bound once, and copied.
        """
        key = attempt.name, attempt.claimed.queue
        context = self._contexts.get(key)
        if context is None:
            context = contextvars.Context()
            context.run(bind_contextvars, job_name=key[0], queue=key[1], attempt=1)
            if len(self._contexts) < CONTEXTS:
                self._contexts[key] = context
        return context.copy()

    async def arun(self, attempt: Attempt) -> Outcome:
        """Run it in this task, whose context is `context`'s."""
        attempt.began, attempt.started = time.monotonic(), time.time()
        try:
            outcome = await self._arun(attempt)
        except BaseException as error:  # noqa: BLE001 - as in run; the task itself never fails
            why = attempt.fence.why
            if why is not None and isinstance(error, asyncio.CancelledError):
                error = why().with_traceback(error.__traceback__)
            outcome = self.judge(attempt, error)
        attempt.ended = time.time()
        return outcome

    def budget(self, attempt: Attempt) -> Budget:
        """The attempts that are left to its job, and the waits between them."""
        return Budget(attempt.extra.attempts, attempt.claimed.failed, lambda failed: self._backoff(attempt, failed))

    def _read(self, attempt: Attempt) -> None:
        claimed = attempt.claimed
        data = unpack_data(claimed.data)
        attempt.extra = self._extra(claimed)
        if isinstance(data, VanillaCall):
            attempt.name, attempt.call = data.function, data
            return
        attempt.name, attempt.version, attempt.payload = data.name, data.version, data.payload
        try:
            attempt.route = self.routes.find(data.name)
        except UnknownJobName as error:
            raise Parked(str(error)) from error

    def _timeout(self, claimed: Claimed) -> float | None:
        timeout = claimed.timeout
        if timeout is None and claimed.queue in self.queues:
            return self.queues.get(claimed.queue).timeout
        return timeout if timeout is not None and timeout > 0 else None  # RQ's -1 and 0: no limit

    def _extra(self, claimed: Claimed) -> Extra:
        extra = self._extras.get(claimed.extra)
        if extra is None:
            extra = unpack_extra(claimed.extra)
            if extra is None:  # a plain RQ client's job
                return Extra(attempts=claimed.failed + 1 + (claimed.terms or NO_TERMS).retries_left, tags=NO_TAGS)
            if not extra.tags and extra.scheduled_for is None and len(self._extras) < EXTRAS:
                # Jobs of a queue mostly carry the same bytes: its policy. Nobody can change what they share.
                extra = self._extras[claimed.extra] = attrs.evolve(extra, tags=NO_TAGS)
        return extra

    def _run(self, attempt: Attempt) -> Outcome:
        fence = attempt.fence
        if not isinstance(fence, ThreadFence):
            raise TypeError(f"expected an attempt that runs in a thread, got the fence {fence!r}")
        if attempt.call is not None:
            _bind_names(attempt)
            return self.vanilla.run(attempt)
        route = self.routed(attempt)
        job = self._bind(attempt)
        with di.scope():
            value = fence.run(route.call, job)
        return self._conclude(attempt, route, value)

    async def _arun(self, attempt: Attempt) -> Outcome:
        route = self.routed(attempt)
        job = self._bind(attempt)
        with di.scope():
            value = await route.call(job)
        return self._conclude(attempt, route, value)

    def routed(self, attempt: Attempt) -> Route:
        """The attempt's route, which `read` has found."""
        if attempt.route is None:
            raise TypeError("expected an attempt that read() has given a route")
        return attempt.route

    def _bind(self, attempt: Attempt) -> Job[Any]:
        _bind_names(attempt)
        running_job.set(attempt.claimed.id)
        attempt.job = job = self.make_job(attempt)
        return job

    def make_job(self, attempt: Attempt) -> Job[Any]:
        """What the processor sees. Raises CorruptJob or Parked for data that does not fit the payload's class."""
        claimed, extra = attempt.claimed, attempt.extra
        return Job(
            payload=decode(self.routed(attempt).payload, attempt.payload, attempt.version),
            id=claimed.id,
            queue=claimed.queue,
            attempt=claimed.failed + 1,
            attempts=max(extra.attempts, claimed.failed + 1),
            epoch=claimed.epoch,
            tags=extra.tags,
            scheduled_for=extra.scheduled_for,
            port=self.make_port(attempt),
        )

    def _conclude(self, attempt: Attempt, route: Route, value: Any) -> Outcome:
        result = route.processor.normalise(value)
        if result.outcome == "snoozed":
            return Snoozed(result.seconds, result.reason, limited=result.parks)
        if result.outcome == "cancelled":
            return Ended("canceled", result.reason)
        attempt.result = result
        data = route.processor.dump(result.value)
        if not result.then:
            return Completed(data)
        try:
            return Completed(data, tuple(self.new_job(as_draft(each, "then=")) for each in result.then))
        except JobkitError as error:
            raise Unrecoverable(f"the work is done, but a follow-up cannot be enqueued: {error}") from error

    def judge(self, attempt: Attempt, error: BaseException) -> Outcome:
        """What an error means for the attempt's job."""
        parked = attempt.claimed.parked_ms
        parked_for = max(0.0, time.time() - parked / 1000) if parked else 0.0
        outcome = judge(error, self.budget(attempt), timeout=attempt.timeout, parked_for=parked_for)
        if isinstance(error, CorruptJob) and isinstance(outcome, Failed) and attempt.job is None:
            # The bytes go with the verdict: retention may remove the record before somebody looks.
            # They come first: the last line of a text, which says what to do, is what lists show.
            return attrs.evolve(
                outcome, error=clip(f"The job's data: {attempt.claimed.data[:2000]!r}\n{outcome.error}")
            )
        return outcome

    def _backoff(self, attempt: Attempt, failed: int) -> float:
        extra, queue = attempt.extra, attempt.claimed.queue
        if attempt.claimed.terms is not None:
            return attempt.claimed.terms.retry_wait()
        declared = self.queues.get(queue).retry if queue in self.queues else Retry()
        if not extra.backoff:
            return declared.delay(failed, self.chance)
        return Retry.from_wire([extra.attempts, extra.backoff], declared).delay(failed, self.chance)


def _bind_names(attempt: Attempt) -> None:
    """Name it in log lines; its context has its name and queue, and the first attempt."""
    claimed, tags = attempt.claimed, attempt.extra.tags
    bind_contextvars(job_id=claimed.id)
    if claimed.failed:
        bind_contextvars(attempt=claimed.failed + 1)
    if tags:
        bind_contextvars(tags=dict(tags))
