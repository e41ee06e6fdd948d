"""A job's record as its public status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobkit.jobs import JobState, JobStatus
from jobkit.ports import Progress

if TYPE_CHECKING:
    from jobkit.store.records import JobFields

_STATES: Final = frozenset(JobState)
_BEGUN: Final = frozenset({"started", "finished", "stopped"})


def job_status(job: JobFields) -> JobStatus:
    """The status of a record. One whose state RQ uses between two steps (created) counts as queued."""
    return JobStatus(
        id=job.id,
        name=job.name,
        queue=job.queue,
        state=JobState(job.state) if job.state in _STATES else JobState.QUEUED,
        attempt=job.failed + (job.state in _BEGUN),
        attempts=job.attempts,
        progress=Progress(*job.progress) if job.progress else None,
        tags=job.tags,
        created_at=job.created_at,
        enqueued_at=job.enqueued_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        error=job.error,
        reason=job.reason,
        worker=job.worker,
        due_at=job.due_at,
    )
