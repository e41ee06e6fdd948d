"""Job: what a processor sees of its attempt; JobStatus and JobHandle: what everybody else sees of the job."""

from __future__ import annotations

import enum
import functools
import inspect
import time
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Never, ParamSpec, Protocol, overload

import attrs
from typing_extensions import TypeVar

from jobkit import checks
from jobkit.backpressure import UNSAID
from jobkit.errors import DeclarationError
from jobkit.limits import RateLimit
from jobkit.payloads import P_co, Payload, R_co
from jobkit.ports import ClaimPort, MemoryPort, Progress
from jobkit.results import Draft, JobResult, as_draft
from jobkit.steps import keep, recall

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime

    from jobkit.backpressure import RetryAfter
    from jobkit.timing import Seconds

T = TypeVar("T")
Q = ParamSpec("Q")

_REACHABLE: Final = 0.25
"""Seconds of sleep at a time: an interruption reaches a thread only between two sleeps."""

running_job: Final[ContextVar[str | None]] = ContextVar("jobkit_job", default=None)
"""The id of the job whose attempt runs in this context. A processor that waits for another job's result would hold the
slot which that job may need, so handles refuse to wait where this is set."""


class JobState(enum.StrEnum):
    """Where a job is; RQ's words. For display: who owns a job is decided by its token."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    STARTED = "started"
    DEFERRED = "deferred"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELED = "canceled"
    RATE_LIMITED = "rate_limited"


@attrs.frozen(kw_only=True)
class JobStatus:
    """A job's record at one moment.

    Attributes:
        attempt: attempts begun so far; 0 before the first.
        attempts: how many it may have.
        error: the text of its last error.
        reason: why it was snoozed, parked or cancelled.
        worker: the name of the worker that runs it.
        due_at: when a scheduled job may start.

    """

    id: str
    name: str
    queue: str
    state: JobState
    attempt: int = 0
    attempts: int = 1
    progress: Progress | None = None
    tags: Mapping[str, str] = attrs.field(factory=dict[str, str], hash=False)
    created_at: datetime | None = None
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    reason: str | None = None
    worker: str | None = None
    due_at: datetime | None = None


class JobHandle(Protocol[R_co]):
    """A job seen from outside; each method has an async twin."""

    @property
    def id(self) -> str:
        """The job's id."""
        ...

    def status(self) -> JobStatus:
        """The job's record now; raises JobNotFound when retention has removed it."""
        ...

    async def astatus(self) -> JobStatus:
        """As `status`."""
        ...

    def result(self, timeout: Seconds | None = None) -> R_co:
        """Wait for the job to end and give its result.

        Args:
            timeout: seconds (or timedelta) to wait; None waits for as long as it takes.

        Raises:
            ResultTimeout: it has not ended in time; it goes on.
            JobFailed: it failed for good.
            JobCancelled: it was cancelled or stopped.
            JobNotFound: there is no such job.

        """
        ...

    async def aresult(self, timeout: Seconds | None = None) -> R_co:  # noqa: ASYNC109 - the twin of `result`
        """As `result`."""
        ...

    def cancel(self, reason: str = ...) -> bool:
        """Cancel the job; the reason is kept on it. False when it had ended already."""
        ...

    async def acancel(self, reason: str = ...) -> bool:
        """As `cancel`."""
        ...


_NO_TAGS: Mapping[str, str] = MappingProxyType({})


@attrs.frozen(kw_only=True, eq=False)
class Job(Generic[P_co]):
    """One attempt, as its processor sees it. `Job(payload=...)` alone makes one for a test, kept in memory.

    Attributes:
        payload: what the job carries.
        id: the job's id, the same in all its attempts.
        queue: the queue it came from.
        attempt: which attempt this is, from 1.
        attempts: how many it may have.
        epoch: grows with each claim of the job: a fencing number for systems downstream.
        tags: the labels given at the enqueue.
        scheduled_for: the nominal time of the schedule that made it; None when it was enqueued by hand.

    """

    payload: P_co
    id: str = "local"
    queue: str = "local"
    attempt: int = 1
    attempts: int = 1
    epoch: int = 1
    tags: Mapping[str, str] = _NO_TAGS
    scheduled_for: datetime | None = None
    _port: ClaimPort = attrs.field(factory=MemoryPort, alias="port", repr=False)
    _taken: set[str] = attrs.field(init=False, factory=set[str], repr=False)

    @overload
    def step(
        self,
        name: str,
        fn: Callable[Q, Coroutine[Any, Any, T]],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(self, name: str, fn: Callable[Q, T], /, *args: Q.args, **kwargs: Q.kwargs) -> T: ...
    def step(self, name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `fn(*args, **kwargs)` once a job: a later attempt gets the kept value and does not call it.

        The value travels as JSON, through the return annotation of `fn` when it has one, so that models come back as
        models. With an async `fn` the step is awaited. A step that was interrupted runs again: make it repeatable.

        Args:
            name: of this step, unique within the processor's run.
            fn: the work. In an async processor it is async; wrap a blocking one in `in_thread`.
            args: passed to `fn`.
            kwargs: passed to `fn`.

        Raises:
            UnkeptStep: the value does not survive JSON.
            DeclarationError: the name was taken in this attempt, or `fn` does not fit the processor (sync, async).
            LostClaim: another worker owns the job now.

        """
        self._take(name)
        looping = _on_event_loop()
        if _is_async(fn):
            if not looping:
                raise DeclarationError(
                    f"step {name!r}: expected a plain function, got the async {_called(fn)}; "
                    "a processor that awaits its steps is an async def",
                )
            return self._async_step(name, fn, args, kwargs)
        if looping:
            raise DeclarationError(
                f"step {name!r}: {_called(fn)} would block the event loop that all async jobs share; "
                f"await job.step({name!r}, in_thread(fn), ...), or make it an async def",
            )
        kept = self._port.load_step(name)
        if kept is not None:
            return recall(name, fn, kept)
        value = fn(*args, **kwargs)
        self._port.save_step(name, keep(name, fn, value))
        return value

    async def _async_step(
        self,
        name: str,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        import asyncio  # noqa: PLC0415 - importing jobkit loads no asyncio

        kept = await asyncio.to_thread(self._port.load_step, name)
        if kept is not None:
            return recall(name, fn, kept)
        value = await fn(*args, **kwargs)
        await asyncio.to_thread(self._port.save_step, name, keep(name, fn, value))
        return value

    def _take(self, name: str) -> None:
        given: object = name
        if not isinstance(given, str) or not given:
            raise DeclarationError(f"job.step: expected a name (str) first, got {name!r}")
        if name in self._taken:
            raise DeclarationError(
                f"step {name!r}: this attempt has had a step of this name, whose value it would get; "
                f"in a loop, name each one, e.g. f'{name}:{{number}}'",
            )
        self._taken.add(name)

    def progress(self, percent: float, message: str = "") -> None:
        """Say how far the job is, for its status.

        Args:
            percent: from 0 to 100.
            message: what it is doing.

        Raises:
            DeclarationError: the percent is no number from 0 to 100, or the message is no text.
            LostClaim: another worker owns the job now.

        """
        given: object = message
        if not isinstance(given, str):
            raise DeclarationError(f"job.progress(percent, message): expected a message (str), got {message!r:.200}")
        self._port.progress(checks.number(percent, "job.progress(percent)", least=0, most=100), message)

    def rate_limited(self, *, retry_after: RetryAfter = UNSAID, reason: str = "rate limited") -> JobResult[Never]:
        """What to return when a service says that it is asked too much: `return job.rate_limited(retry_after=30)`.

        For so long no worker begins a job under the same key of the queue's `RateLimit(key=)`, or, where the queue has
        no such limit, any job of the queue. This one comes back to its place and no attempt is used. What runs goes on.

        Args:
            retry_after: seconds (or timedelta), or the service's response, whose header Retry-After is read; a second
                at least, and 60 without one. A day at most.
            reason: kept on the job.

        Raises:
            DeclarationError: what is given says no duration, or the reason is empty.

        """
        return JobResult.rate_limited(retry_after, reason)

    def permit(self, limit: RateLimit, /, *, name: str) -> None:
        """Wait until the window of this name admits one more, and count it: just before a call to somebody outside.

        Exact over all workers, in any window of the server's clock: `job.permit(RateLimit(100, per=10), name="crm")`.
        The wait counts towards the attempt's timeout, and ends with it. Use one limit for one name.

        Args:
            limit: how many in how many seconds; without a key.
            name: of the window; all jobs of all queues that name it share it.

        Raises:
            DeclarationError: the limit has a key, the name is no text, or an event loop runs here: await `apermit`.
            LostClaim: another worker owns the job now.

        """
        _check_window(limit, name)
        if _on_event_loop():
            raise DeclarationError("job.permit would block the event loop that all async jobs share; await job.apermit")
        while (wait := self._port.permit(name, limit)) > 0:
            until = time.monotonic() + wait
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, _REACHABLE))

    async def apermit(self, limit: RateLimit, /, *, name: str) -> None:
        """As `permit`, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - importing jobkit loads no asyncio

        _check_window(limit, name)
        while (wait := await asyncio.to_thread(self._port.permit, name, limit)) > 0:  # noqa: ASYNC110 - a known time
            await asyncio.sleep(wait)

    def enqueue(self, item: Payload[object] | Draft[object], /) -> str:
        """Enqueue a job now, unless this attempt has lost its claim; gives its id, or that of the job it would repeat.

        What should follow the finish, and not happen without it, belongs in `JobResult.completed(then=[...])`.

        Raises:
            WrongPayload, NotSerialisable, UnknownQueue: the payload is wrong.
            LostClaim: another worker owns the job now.

        """
        return self._port.enqueue([as_draft(item, "job.enqueue")])[0]

    async def aenqueue(self, item: Payload[object] | Draft[object], /) -> str:
        """As `enqueue`, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - importing jobkit loads no asyncio

        return await asyncio.to_thread(self.enqueue, item)


def in_thread(fn: Callable[Q, T], /) -> Callable[Q, Coroutine[Any, Any, T]]:
    """The blocking function as an async one that runs in a thread, for the steps of an async processor.

    text = await job.step("ocr", in_thread(view.infrastructure.ocr.read), image)

    Raises:
        DeclarationError: the function is async already.

    """
    if _is_async(fn):
        raise DeclarationError(f"in_thread: {_called(fn)} is async already; await it as it is")

    async def call(*args: Q.args, **kwargs: Q.kwargs) -> T:
        import asyncio  # noqa: PLC0415 - importing jobkit loads no asyncio

        return await asyncio.to_thread(fn, *args, **kwargs)

    return functools.update_wrapper(call, fn)


def _check_window(limit: object, name: object) -> None:
    if not isinstance(limit, RateLimit):
        raise DeclarationError(f"job.permit: expected a limit such as RateLimit(100, per=10) first, got {limit!r:.200}")
    if limit.key is not None:
        raise DeclarationError(
            f"job.permit: expected a limit without a key, got {limit!r}; put the key into the name, e.g. "
            f"name=f'crm:{{job.payload.{limit.key}}}'"
        )
    if not isinstance(name, str) or not name:
        raise DeclarationError(f"job.permit(name=): expected the name of a window (str), got {name!r:.200}")


def _is_async(fn: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _called(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)


def _on_event_loop() -> bool:
    import asyncio  # noqa: PLC0415 - importing jobkit loads no asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
