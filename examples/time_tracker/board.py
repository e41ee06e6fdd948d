"""What the demo shows at one moment, as values: filled from the kit, drawn by the screen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from jobkit import JobState, JobStatus

from .payloads import InvoiceFields

ENDED = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELED, JobState.STOPPED})
EXCEPTION_CLASS = re.compile(r"^[\w.]+: ")


@attrs.frozen(kw_only=True)
class QueueLine:
    """How many jobs of a queue wait (for a worker or for a moment), run, are done, have failed for good."""

    name: str
    waiting: int
    running: int
    done: int
    failed: int


@attrs.frozen(kw_only=True)
class Board:
    """The queues, and by the id of its invoice each job's status, and its result once it has one."""

    queues: Sequence[QueueLine]
    jobs: Mapping[str, JobStatus]
    results: Mapping[str, InvoiceFields]

    @property
    def running(self) -> list[tuple[str, JobStatus]]:
        """The jobs that are being worked on."""
        return [(invoice, job) for invoice, job in self.jobs.items() if job.state is JobState.STARTED]

    @property
    def ended(self) -> list[tuple[str, JobStatus]]:
        """The jobs that have ended, the latest last."""
        over = [(invoice, job) for invoice, job in self.jobs.items() if job.state in ENDED]
        return sorted(over, key=lambda each: each[1].ended_at.timestamp() if each[1].ended_at else 0.0)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to wait for."""
        return all(job.state in ENDED for job in self.jobs.values())


def happening(job: JobStatus, result: InvoiceFields | None = None) -> str:
    """One line about where a job stands, and what it gave once it has."""
    tries = f"attempt {job.attempt} of {job.attempts}"
    match job.state:
        case JobState.STARTED:
            return f"{job.progress.message or 'started' if job.progress else 'started'} ({tries})"
        case JobState.FINISHED:
            said = f": {result.number}, {result.date.isoformat()}, {result.amount:,.2f}" if result else ""
            return f"processed{said} ({tries})"
        case JobState.FAILED:
            return f"error: {last_line(job.error)}"
        case JobState.SCHEDULED:
            return f"waits to be tried again: {job.reason or last_line(job.error)}"
        case state:
            return state.value


def last_line(error: str | None) -> str:
    """Return what went wrong: the last line of a traceback, without the path of the exception's class."""
    lines = [line for line in (error or "").splitlines() if line.strip() and not line.startswith(" ")]
    return EXCEPTION_CLASS.sub("", lines[-1]) if lines else "no reason given"
