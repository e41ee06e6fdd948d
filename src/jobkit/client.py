"""Enqueueing, and handles on what was enqueued. Each call has an async twin over the same described operations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import attrs
from pydantic_core import from_json

from jobkit.errors import DeclarationError, JobCancelled, JobFailed, JobNotFound, WrongPayload
from jobkit.limits import Priority
from jobkit.payloads import Payload, R_co
from jobkit.processing import load_result
from jobkit.results import Draft, as_draft, draft
from jobkit.statuses import job_status
from jobkit.store.operations import ENQUEUE_AT_MOST, cancel, enqueue, entries_after, origin, read, standing_ids
from jobkit.waiting import ENDED, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from jobkit.dedupe import Dedupe
    from jobkit.door import Door
    from jobkit.envelopes import Envelopes
    from jobkit.jobs import JobStatus
    from jobkit.store import Store
    from jobkit.store.connection import Operation
    from jobkit.store.records import JobFields, NewJob, ResultEntry
    from jobkit.timing import Seconds

T = TypeVar("T")

KEEP_ALL: Final = 2**53
"""How many cancelled jobs are kept of a queue whose retention this kit does not know."""


@attrs.frozen
class Client:
    """Writes jobs and reads them back, for one kit. Safe for threads."""

    door: Door
    envelopes: Envelopes

    def enqueue(self, draft: Draft[T]) -> StoredHandle[T]:
        """Store one job, or find the one that it would repeat; it is on Redis when this returns."""
        jobs = [self.envelopes.new_job(draft)]
        store = self.door.store()
        (job_id,) = standing_ids(jobs, store.run(enqueue(store.keys, jobs)))
        return self.handle(job_id, type(draft.payload))

    async def aenqueue(self, draft: Draft[T]) -> StoredHandle[T]:
        """As `enqueue`."""
        jobs = [self.envelopes.new_job(draft)]
        store = await self.door.astore()
        (job_id,) = standing_ids(jobs, await store.arun(enqueue(store.keys, jobs)))
        return self.handle(job_id, type(draft.payload))

    def enqueue_many(self, drafts: Sequence[Draft[T]]) -> list[StoredHandle[T]]:
        """Store many jobs, 500 a call. All are checked before the first is sent."""
        jobs = list(map(self.envelopes.new_job, drafts))
        ids: list[str] = []
        if jobs:
            store = self.door.store()
            for slice_ in _slices(jobs):
                ids += standing_ids(slice_, store.run(enqueue(store.keys, slice_)))
        return self._handles(ids, drafts)

    async def aenqueue_many(self, drafts: Sequence[Draft[T]]) -> list[StoredHandle[T]]:
        """As `enqueue_many`."""
        jobs: list[NewJob] = []
        for each in _slices(drafts):
            jobs += map(self.envelopes.new_job, each)
            await asyncio.sleep(0)  # checking thousands of payloads takes a while: let the loop's other tasks run
        ids: list[str] = []
        if jobs:
            store = await self.door.astore()
            for slice_ in _slices(jobs):
                ids += standing_ids(slice_, await store.arun(enqueue(store.keys, slice_)))
        return self._handles(ids, drafts)

    def _handles(self, ids: Sequence[str], drafts: Sequence[Draft[T]]) -> list[StoredHandle[T]]:
        return [self.handle(job_id, type(draft.payload)) for job_id, draft in zip(ids, drafts, strict=True)]

    def known(self, job_id: str, of: type[Payload[Any]] | None) -> StoredHandle[Any]:
        """A handle on a job that somebody names; raises DeclarationError for what is no id or no payload class."""
        given: object = job_id
        if not isinstance(given, str) or not given:
            raise DeclarationError(f"handle(job_id): expected a job's id (str), got {given!r:.200}")
        cls: object = of
        if cls is not None and not (isinstance(cls, type) and issubclass(cls, Payload)):
            raise DeclarationError(f"handle(of): expected a payload class, got {cls!r:.200}")
        return self.handle(job_id, of)

    def handle(self, job_id: str, of: type[Payload[Any]] | None = None) -> StoredHandle[Any]:
        """A handle on a job by its id; `of` types its result."""
        return StoredHandle(job_id, self, of)


def drafts(payloads: Iterable[Payload[T] | Draft[T]]) -> list[Draft[T]]:
    """The items of a bulk as drafts; raises WrongPayload for one that is neither a payload nor a draft."""
    given: object = payloads
    if isinstance(given, Payload | Draft | str | bytes | Mapping | type) or not isinstance(given, Iterable):
        hint = "; did you mean enqueue(...)?" if isinstance(given, Payload | Draft) else ""
        raise WrongPayload(f"enqueue_many: expected a list of payloads or drafts, got {given!r:.200}{hint}")
    return [as_draft(item, "enqueue_many") for item in payloads]


def drafted(
    payload: Payload[T] | Draft[T],
    delay: Seconds,
    at: datetime | None,
    job_id: str | None,
    tags: Mapping[str, str] | None,
    priority: Priority = Priority.NORMAL,
    dedupe: Dedupe | None = None,
) -> Draft[T]:
    """A payload with the options it is enqueued with, or the draft that brings its own.

    Raises:
        WrongPayload: it is neither.
        DeclarationError: an option is wrong, or stands beside a draft.

    """
    if isinstance(payload, Draft):
        apart = job_id is not None or tags or priority is not Priority.NORMAL or dedupe is not None
        if delay or at is not None or apart:
            raise DeclarationError(
                "enqueue: a draft brings its own options; expected it alone, got options beside it. Give them to "
                "draft(...)",
            )
        return payload
    plain = delay == 0.0 and delay is not False and at is None and job_id is None and not tags
    if plain and priority is Priority.NORMAL and dedupe is None:
        return as_draft(payload, "enqueue")
    return draft(payload, delay=delay, at=at, job_id=job_id, tags=tags, priority=priority, dedupe=dedupe)


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), ENQUEUE_AT_MOST):
        yield items[start : start + ENQUEUE_AT_MOST]


_Found: TypeAlias = "tuple[JobFields, tuple[str, ResultEntry] | None]"


@attrs.frozen(eq=False)
class StoredHandle(Generic[R_co]):
    """A job on Redis, seen from outside. The protocol is `jobkit.JobHandle`."""

    id: str
    _client: Client = attrs.field(repr=False)
    _of: type[Payload[Any]] | None = None

    def status(self) -> JobStatus:
        """The job's record now; raises JobNotFound when retention has removed it."""
        store = self._client.door.store()
        return job_status(self._found(store.run(read(store.keys, self.id)))[0])

    async def astatus(self) -> JobStatus:
        """As `status`."""
        store = await self._client.door.astore()
        return job_status(self._found(await store.arun(read(store.keys, self.id)))[0])

    def result(self, timeout: Seconds | None = None) -> R_co:
        """Wait for the job to end and give its result; see `jobkit.JobHandle.result` for what it raises."""
        waiting = Waiting(self.id, timeout)
        store = self._client.door.store()
        while True:
            found = self._found(store.run(read(store.keys, self.id, waits=True)))
            if found[0].state in ENDED:
                return self._outcome(*found)
            after, seconds = waiting.next(found)
            store.run(entries_after(store.keys, self.id, after, block_ms=max(1, round(seconds * 1000))))

    async def aresult(self, timeout: Seconds | None = None) -> R_co:  # noqa: ASYNC109 - the twin of `result`
        """As `result`."""
        waiting = Waiting(self.id, timeout)
        store = await self._client.door.astore()
        while True:
            found = self._found(await store.arun(read(store.keys, self.id, waits=True)))
            if found[0].state in ENDED:
                return self._outcome(*found)
            after, seconds = waiting.next(found)
            await store.await_entry(store.keys.results(self.id), after, seconds)

    def cancel(self, reason: str = "cancelled by its caller") -> bool:
        """Cancel the job. False when it had ended already; raises JobNotFound."""
        store = self._client.door.store()
        queue = self._queue(store.run(origin(store.keys, self.id)))
        return self._canceled(store.run(self._cancel(store, queue, reason)))

    async def acancel(self, reason: str = "cancelled by its caller") -> bool:
        """As `cancel`."""
        store = await self._client.door.astore()
        queue = self._queue(await store.arun(origin(store.keys, self.id)))
        return self._canceled(await store.arun(self._cancel(store, queue, reason)))

    def _cancel(self, store: Store, queue: str, reason: str) -> Operation[str]:
        queues = self._client.envelopes.queues
        keep = queues.get(queue).retention.failed if queue in queues else KEEP_ALL
        return cancel(store.keys, self.id, queue, reason=reason, keep=keep)

    def _found(self, found: _Found | None) -> _Found:
        if found is None:
            raise self._missing()
        return found

    def _queue(self, queue: str | None) -> str:
        if queue is None:
            raise self._missing()
        return queue

    def _canceled(self, answer: str) -> bool:
        if answer == "missing":
            raise self._missing()
        return answer == "canceled"

    def _missing(self) -> JobNotFound:
        return JobNotFound(f"no job {self.id!r}: it was never enqueued here, or retention has removed it")

    def _outcome(self, job: JobFields, last: tuple[str, ResultEntry] | None) -> R_co:
        entry = last[1] if last else None
        if job.state == "finished":
            if entry is None and job.gave:
                raise JobNotFound(f"job {self.id!r} finished, but its result is no longer kept")
            value: R_co = self._value(entry.value if entry else None)
            return value
        if job.state == "failed":
            told = (entry.error if entry else None) or job.error or "no error was kept"
            if job.reason:
                told = f"{told}\n{job.reason}"
            raise JobFailed(f"job {self.id} ({job.name}) failed for good at attempt {max(1, job.failed)}:\n{told}")
        raise JobCancelled(f"job {self.id} ({job.name}) was {job.state}: {job.reason or 'no reason was kept'}")

    def _value(self, value: bytes | None) -> Any:
        if self._of is None:
            return from_json(value) if value is not None else None
        return load_result(self._of, value if value is not None else b"null")
