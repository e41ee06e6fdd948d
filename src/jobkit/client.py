"""Enqueueing, and handles on what was enqueued. Each call has an async twin over the same described operations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Generic

import attrs
from pydantic import TypeAdapter
from pydantic_core import from_json

from jobkit.envelopes import Envelopes
from jobkit.errors import DeclarationError, JobCancelled, JobFailed, JobNotFound, ResultTimeout
from jobkit.jobs import JobStatus, running_job
from jobkit.payloads import Payload, R_co, kind
from jobkit.results import Draft
from jobkit.statuses import job_status
from jobkit.store import Store
from jobkit.store.operations import ENQUEUE_AT_MOST, cancel, enqueue, entries_after, origin, read
from jobkit.store.records import JobFields, NewJob, ResultEntry
from jobkit.timing import Seconds, seconds

_ENDED: Final = frozenset({"finished", "failed", "stopped", "canceled"})
_LOOK_AGAIN: Final = 1.0
"""Seconds after which a waiter reads the job anew, for an end that left no result entry (RQ's own tools)."""

_Found = tuple[JobFields, tuple[str, ResultEntry] | None]


@attrs.frozen
class Client:
    """Writes jobs and reads them back, for one kit. Safe for threads."""

    store: Store
    envelopes: Envelopes

    def enqueue(self, draft: Draft[R_co]) -> StoredHandle[R_co]:
        """Store one job; it is on Redis when this returns."""
        self.store.run(enqueue(self.store.keys, [self.envelopes.new_job(draft)]))
        return self.handle(draft.id, type(draft.payload))

    async def aenqueue(self, draft: Draft[R_co]) -> StoredHandle[R_co]:
        """As `enqueue`."""
        await self.store.arun(enqueue(self.store.keys, [self.envelopes.new_job(draft)]))
        return self.handle(draft.id, type(draft.payload))

    def enqueue_many(self, drafts: Iterable[Draft[R_co]]) -> list[StoredHandle[R_co]]:
        """Store many jobs, 500 a call. All are checked before the first is sent."""
        drafts = list(drafts)
        for jobs in _slices([self.envelopes.new_job(draft) for draft in drafts]):
            self.store.run(enqueue(self.store.keys, jobs))
        return [self.handle(draft.id, type(draft.payload)) for draft in drafts]

    async def aenqueue_many(self, drafts: Iterable[Draft[R_co]]) -> list[StoredHandle[R_co]]:
        """As `enqueue_many`."""
        drafts = list(drafts)
        for jobs in _slices([self.envelopes.new_job(draft) for draft in drafts]):
            await self.store.arun(enqueue(self.store.keys, jobs))
        return [self.handle(draft.id, type(draft.payload)) for draft in drafts]

    def handle(self, job_id: str, of: type[Payload[Any]] | None = None) -> StoredHandle[Any]:
        """A handle on a job by its id; `of` types its result."""
        return StoredHandle(job_id, self, of)


def _slices(jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
    for start in range(0, len(jobs), ENQUEUE_AT_MOST):
        yield jobs[start : start + ENQUEUE_AT_MOST]


@attrs.frozen(eq=False)
class StoredHandle(Generic[R_co]):
    """A job on Redis, seen from outside. The protocol is `jobkit.JobHandle`."""

    id: str
    _client: Client = attrs.field(repr=False)
    _of: type[Payload[Any]] | None = None

    def status(self) -> JobStatus:
        """The job's record now; raises JobNotFound when retention has removed it."""
        return job_status(self._found(self._client.store.run(self._read()))[0])

    async def astatus(self) -> JobStatus:
        """As `status`."""
        return job_status(self._found(await self._client.store.arun(self._read()))[0])

    def result(self, timeout: Seconds | None = None) -> R_co:
        """Wait for the job to end and give its result; see `jobkit.JobHandle.result` for what it raises."""
        store = self._client.store
        waiting = _Waiting(self.id, timeout)
        while True:
            found = self._found(store.run(self._read()))
            if found[0].state in _ENDED:
                return self._outcome(*found)
            store.run(waiting.entries(store, found))

    async def aresult(self, timeout: Seconds | None = None) -> R_co:  # noqa: ASYNC109 - the twin of `result`
        """As `result`."""
        store = self._client.store
        waiting = _Waiting(self.id, timeout)
        while True:
            found = self._found(await store.arun(self._read()))
            if found[0].state in _ENDED:
                return self._outcome(*found)
            await store.arun(waiting.entries(store, found))

    def cancel(self, reason: str = "cancelled by its caller") -> bool:
        """Cancel the job. False when it had ended already; raises JobNotFound."""
        store = self._client.store
        queue = self._queue(store.run(origin(store.keys, self.id)))
        return self._canceled(store.run(self._cancel(queue, reason)))

    async def acancel(self, reason: str = "cancelled by its caller") -> bool:
        """As `cancel`."""
        store = self._client.store
        queue = self._queue(await store.arun(origin(store.keys, self.id)))
        return self._canceled(await store.arun(self._cancel(queue, reason)))

    def _read(self) -> Any:
        return read(self._client.store.keys, self.id)

    def _cancel(self, queue: str, reason: str) -> Any:
        queues = self._client.envelopes.queues
        keep = queues.get(queue).retention.failed if queue in queues else _NO_LIMIT
        return cancel(self._client.store.keys, self.id, queue, reason=reason, keep=keep)

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
            if entry is None:
                raise JobNotFound(f"job {self.id!r} finished, but its result is no longer kept")
            return self._value(entry.value)
        if job.state == "failed":
            told = (entry.error if entry else None) or job.error or "no error was kept"
            raise JobFailed(f"job {self.id} ({job.name}) failed for good after {job.failed} attempts:\n{told}")
        raise JobCancelled(f"job {self.id} ({job.name}) was {job.state}: {job.reason or 'no reason was kept'}")

    def _value(self, value: bytes | None) -> Any:
        if self._of is None:
            return from_json(value) if value is not None else None
        declared = kind(self._of).result
        return TypeAdapter(declared).validate_json(value if value is not None else b"null")


class _Waiting:
    """How long a waiter still waits, and for what."""

    def __init__(self, job_id: str, timeout: Seconds | None) -> None:
        waiter = running_job.get()
        if waiter is not None:
            raise DeclarationError(
                f"job {waiter} asked to wait for the result of job {job_id}: it would hold its slot until the other, "
                "which may need that slot, has ended. Let the other follow: JobResult.completed(then=[...])",
            )
        self._id = job_id
        self._timeout = None if timeout is None else seconds(timeout, "result(timeout=)")
        self._end = None if self._timeout is None else time.monotonic() + self._timeout

    def entries(self, store: Store, found: _Found) -> Any:
        """The call that waits for the next result entry; raises ResultTimeout when no time is left."""
        left = _LOOK_AGAIN if self._end is None else min(_LOOK_AGAIN, self._end - time.monotonic())
        if left <= 0:
            job = found[0]
            raise ResultTimeout(
                f"job {self._id} ({job.name}) has not ended within {self._timeout:g} s: it is {job.state}. "
                "It goes on; ask again, or look at `jobkit jobs show`",
            )
        after = found[1][0] if found[1] else "0-0"
        return entries_after(store.keys, self._id, after, block_ms=max(1, round(left * 1000)))


_NO_LIMIT: Final = 2**53
