"""How long somebody waits for a job's end, and from which result entry on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from jobkit.errors import DeclarationError, ResultTimeout
from jobkit.jobs import running_job
from jobkit.timing import Seconds, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.store.records import JobFields, ResultEntry

ENDED: Final = frozenset({"finished", "failed", "stopped", "canceled"})
LOOK_AGAIN: Final = 1.0
"""Seconds after which a waiter reads the job anew, for an end that left no result entry (RQ's own tools)."""


class Waiting:
    """One wait for a job's end.

    Raises DeclarationError inside a processor: it would hold its slot until the other job, which may need that slot,
    has ended; and for a timeout that is no duration.
    """

    def __init__(self, job_id: str, timeout: Seconds | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        waiter = running_job.get()
        if waiter is not None:
            raise DeclarationError(
                f"job {waiter} asked to wait for the result of job {job_id}: it would hold its slot until the other, "
                "which may need that slot, has ended. Let the other follow: JobResult.completed(then=[...])",
            )
        self._id = job_id
        self._now = monotonic
        self._timeout = None if timeout is None else seconds(timeout, "result(timeout=)")
        self._end = None if self._timeout is None else monotonic() + self._timeout

    def next(self, found: tuple[JobFields, tuple[str, ResultEntry] | None]) -> tuple[str, float]:
        """The result entry after which to wait, and for how many seconds; raises ResultTimeout when none are left.

        Entries of attempts that another follows wake the waiter, who looks and waits on.
        """
        job, last = found
        left = LOOK_AGAIN if self._end is None else min(LOOK_AGAIN, self._end - self._now())
        if left <= 0:
            raise ResultTimeout(
                f"job {self._id} ({job.name}) has not ended within {self._timeout:g} s: it is {job.state}. "
                f"It goes on: ask again, or look at it with `jobkit jobs show {self._id}`",
            )
        return last[0] if last else "0-0", left
