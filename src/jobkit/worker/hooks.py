"""The application's hooks, called once an outcome is recorded, in a thread of their own: a slow one holds up no job."""

from __future__ import annotations

import logging
import queue
from typing import TYPE_CHECKING, Any

from jobkit.worker.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.jobs import Job
    from jobkit.results import JobResult

log = logging.getLogger("jobkit.worker")


class Hooks(Part):
    """Calls `on_completed(job, result)` and `on_failed(job, error)`. What a hook raises is logged and changes nothing.

    `stop()` lets it call what it was given before.
    """

    def __init__(
        self,
        on_completed: Callable[[Job[Any], JobResult[Any]], object] | None,
        on_failed: Callable[[Job[Any], BaseException], object] | None,
        *,
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__("hooks", on_crash=on_crash)
        self._on_completed = on_completed
        self._on_failed = on_failed
        self._inbox: queue.SimpleQueue[tuple[Callable[[Any, Any], object], Job[Any], Any] | None] = queue.SimpleQueue()

    def completed(self, job: Job[Any], result: JobResult[Any]) -> None:
        """Its result is recorded."""
        if self._on_completed is not None:
            self._inbox.put((self._on_completed, job, result))

    def failed(self, job: Job[Any], error: BaseException) -> None:
        """Its failure for good is recorded."""
        if self._on_failed is not None:
            self._inbox.put((self._on_failed, job, error))

    def _wake(self) -> None:
        self._inbox.put(None)

    def _body(self) -> None:
        while (entry := self._inbox.get()) is not None:
            hook, job, what = entry
            try:
                hook(job, what)
            except BaseException:  # also SystemExit: a hook does not end the others
                log.exception(
                    "a hook raised; the job's outcome stands",
                    extra={"hook": getattr(hook, "__qualname__", repr(hook)), "job_id": job.id, "queue": job.queue},
                )
