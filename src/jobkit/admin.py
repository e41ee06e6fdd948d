"""What an operator asks and does: jobs by state, their attempts, retry and cancel, queues and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
from pydantic_core import from_json

from jobkit import checks
from jobkit.errors import CorruptJob, DeclarationError, JobNotFound, did_you_mean
from jobkit.statuses import job_status
from jobkit.store.codec import JobData, VanillaCall, unpack_data
from jobkit.store.inspection import STATES, Inspection
from jobkit.store.operations import attempts, cancel, origin, retry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from jobkit.jobs import JobStatus
    from jobkit.queues import QueueSet
    from jobkit.store import Store
    from jobkit.store.records import JobFields, QueueCounts, ResultEntry, WorkerFields

_NO_LIMIT: Final = 2**53
_PAGE: Final = 200
"""Jobs read at a time when not all of them are wanted."""
_SHOWN: Final = 200
"""Bytes that are shown of what cannot be read."""
_KINDS: Final[Mapping[int, Literal["finished", "failed", "stopped", "retried"]]] = {
    1: "finished",
    2: "failed",
    3: "stopped",
    4: "retried",
}


@attrs.frozen(kw_only=True)
class AttemptRecord:
    """How one attempt ended: `outcome` is finished, retried (it failed and another follows), failed or stopped."""

    outcome: Literal["finished", "failed", "stopped", "retried"]
    result: Any
    error: str | None
    worker: str
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def seconds(self) -> float | None:
        """How long it ran."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@attrs.frozen(kw_only=True)
class JobRecord:
    """A job with its payload and its attempts, oldest first (about ten are kept)."""

    status: JobStatus
    payload: Any
    timeout: float | None
    attempts: tuple[AttemptRecord, ...]


@attrs.frozen
class Jobs:
    """The jobs on one Redis, for operators. Raises StoreUnavailable; JobNotFound for an id that is not there."""

    _store: Store
    _queues: QueueSet

    def get(self, job_id: str) -> JobRecord:
        """A job whole: status, payload, every attempt's result or error."""
        fields = Inspection(self._store).job(job_id)
        if fields is None:
            raise _missing(job_id)
        entries = self._store.run(attempts(self._store.keys, job_id))
        return JobRecord(
            status=job_status(fields),
            payload=_payload(fields),
            timeout=fields.timeout,
            attempts=tuple(_attempts(fields, [entry for _, entry in entries])),
        )

    def ls(
        self,
        *,
        queue: str | None = None,
        state: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 50,
    ) -> list[JobStatus]:
        """Jobs of a queue (default: every queue) in a state (default: every state), at most `limit`.

        With `tags` only those that carry all of them; every job of the queue may have to be read for that.

        Raises:
            UnknownQueue: neither the kit nor this Redis knows the queue; the message suggests the nearest.
            DeclarationError: the state is none, or the limit is no whole number from 1.

        """
        checks.whole(limit, "jobs.ls(limit=)", least=1)
        if state is not None and state not in STATES:
            raise DeclarationError(
                f"jobs.ls(state=): expected one of {', '.join(STATES)}, got {state!r}{did_you_mean(state, STATES)}"
            )
        inspection = Inspection(self._store)
        if queue is not None and queue not in self._queues and queue not in inspection.queue_names():
            self._queues.get(queue)
        wanted = (tags or {}).items()
        found: list[JobStatus] = []
        for name in [queue] if queue is not None else inspection.queue_names():
            for each in [state] if state is not None else STATES:
                for page in _pages(inspection, name, each, _PAGE if wanted else limit - len(found)):
                    found += (job for job in page if wanted <= job.tags.items())
                    if len(found) >= limit:
                        return found[:limit]
        return found

    def retry(self, job_id: str) -> str:
        """Queue an ended job again with all its attempts, or a scheduled one now.

        Answers 'queued', 'waiting' (it was queued already) or the state that cannot be retried (started, finished).
        """
        answer = self._store.run(retry(self._store.keys, job_id, self._queue_of(job_id)))
        if answer == "missing":
            raise _missing(job_id)
        return answer

    def cancel(self, job_id: str, *, reason: str = "cancelled by an operator") -> bool:
        """End a job that waits or runs. False when it had ended already."""
        queue = self._queue_of(job_id)
        keep = self._queues.get(queue).retention.failed if queue in self._queues else _NO_LIMIT
        answer = self._store.run(cancel(self._store.keys, job_id, queue, reason=reason, keep=keep))
        if answer == "missing":
            raise _missing(job_id)
        return answer == "canceled"

    def counts(self) -> list[QueueCounts]:
        """How many jobs of each queue are in each state: the kit's queues, and others that this Redis knows."""
        inspection = Inspection(self._store)
        return inspection.counts(list(dict.fromkeys([*self._queues.names, *inspection.queue_names()])))

    def workers(self) -> list[WorkerFields]:
        """The workers that live."""
        return Inspection(self._store).workers()

    def _queue_of(self, job_id: str) -> str:
        queue = self._store.run(origin(self._store.keys, job_id))
        if queue is None:
            raise _missing(job_id)
        return queue


def _pages(inspection: Inspection, queue: str, state: str, size: int) -> Iterator[list[JobStatus]]:
    """The jobs of a queue in a state, `size` at a time. A job that is gone when it is read leaves its page shorter."""
    yield [job_status(job) for job in inspection.jobs(queue, state, limit=size)]
    total: int = getattr(inspection.counts([queue])[0], state)
    for offset in range(size, total, size):
        yield [job_status(job) for job in inspection.jobs(queue, state, offset=offset, limit=size)]


def _missing(job_id: str) -> JobNotFound:
    return JobNotFound(f"no job {job_id!r}: it was never enqueued here, or retention has removed it")


def _payload(job: JobFields) -> Any:
    try:
        found = unpack_data(job.data)
    except CorruptJob as error:
        return {"unreadable": repr(job.data[:_SHOWN]), "why": str(error)}
    match found:
        case JobData(payload=payload):
            return _read(payload)
        case VanillaCall(function=function, args=args, kwargs=kwargs):
            return {"function": function, "args": args, "kwargs": kwargs}


def _read(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError as error:
        return {"unreadable": repr(data[:_SHOWN]), "why": str(error)}


def _attempts(fields: JobFields, entries: Sequence[ResultEntry]) -> Iterator[AttemptRecord]:
    yield from map(_attempt, entries)
    if fields.state == "finished" and not entries and not fields.gave:  # its one attempt gave nothing back: no entry
        yield AttemptRecord(
            outcome="finished",
            result=None,
            error=None,
            worker=fields.worker or "",
            started_at=fields.started_at,
            ended_at=fields.ended_at,
        )


def _attempt(entry: ResultEntry) -> AttemptRecord:
    return AttemptRecord(
        outcome=_KINDS.get(entry.kind, "failed"),
        result=None if entry.value is None else _read(entry.value),
        error=entry.error,
        worker=entry.worker,
        started_at=entry.started_at,
        ended_at=entry.ended_at,
    )
