"""Jobs of plain RQ clients: a function by its dotted name, with JSON arguments, where the settings allow it.

Function and callbacks run in the attempt's thread, one after the other, each under a timeout of its own. After an
interruption (a timeout, a stop) a callback has the time that an interrupted attempt has to end, and no more.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import math
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from jobkit.errors import JobStopped, LostClaim, StoreFull, StoreUnavailable, Unrecoverable
from jobkit.store.rq_jobs import asked_again
from jobkit.store.terms import Terms
from jobkit.worker.fence import ThreadFence
from jobkit.worker.outcomes import Completed, Failed, Outcome, Snoozed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.store.records import Claimed
    from jobkit.store.rq_jobs import AskedAgain
    from jobkit.store.terms import Callback
    from jobkit.worker.attempt import Attempt

log = logging.getLogger("jobkit.worker")

NO_TERMS: Final = Terms()
UNREAD: Final = 1.0
"""Seconds until a job comes again whose record could not be read, because the server was away just then."""


class RunningJob(Protocol):
    """RQ's view of a job that runs."""

    def perform(self) -> object:
        """Call its function."""
        ...

    def call_back(self, fn: Callable[..., Any], *what: Any) -> None:
        """Call a callback with the job, a connection and what is said about its end."""
        ...


class FetchesJobs(Protocol):
    """Where RQ's views of jobs come from."""

    def fetch(self, claimed: Claimed) -> RunningJob:
        """The claimed job."""
        ...

    def close(self) -> None:
        """Close what it opened."""
        ...


@attrs.define
class Vanilla:
    """Runs vanilla jobs.

    Args:
        jobs: where RQ's views of them come from.
        allowed: patterns of the functions that may be called, as a job's function or as a callback.
        extend: told when an attempt's timeout has been set anew; a worker's watchdog, where there is one.

    """

    jobs: FetchesJobs
    allowed: Sequence[str] = ()
    extend: Callable[[Attempt], None] = lambda _: None

    def run(self, attempt: Attempt) -> Outcome:
        """One attempt, in this thread.

        Raises Unrecoverable before anything is called, when the settings do not allow the function or a callback, or
        when there is no such function; after the call, when its result cannot be written as JSON; else what the
        function raises.
        """
        call, terms = attempt.call, attempt.claimed.terms or NO_TERMS
        if call is None:
            raise TypeError("expected an attempt of a vanilla job")
        for name in (call.function, *(each.function for each in terms.callbacks)):
            self._admit(name)
        try:
            job = self.jobs.fetch(attempt.claimed)
        except (StoreUnavailable, StoreFull) as error:
            return Snoozed(UNREAD, f"its record could not be read: {error}")
        try:
            return self._perform(attempt, job, call.function, terms)
        except LostClaim:
            raise
        except JobStopped as stopped:
            self._tell(attempt, job, terms.on_stopped, stopped)
            raise
        except BaseException as error:
            self._tell(attempt, job, terms.on_failure, error, type(error), error, error.__traceback__)
            raise

    def close(self) -> None:
        """Close what was opened for it."""
        self.jobs.close()

    def _perform(self, attempt: Attempt, job: RunningJob, name: str, terms: Terms) -> Outcome:
        value = _fence(attempt).run(job.perform)
        asked = asked_again(value)
        if asked is not None:
            return _again(name, asked, terms)
        try:
            data = json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise Unrecoverable(f"{name} gave a result that cannot be written as JSON: {error}") from error
        if terms.on_success is not None:
            try:
                self._call_back(attempt, job, terms.on_success, value)
            except BaseException as error:
                error.add_note(f"This came from its on_success callback {terms.on_success.function}.")
                raise
        return Completed(data)

    def _tell(
        self, attempt: Attempt, job: RunningJob, callback: Callback | None, error: BaseException, *what: Any
    ) -> None:
        """Call a callback about an attempt that failed; what it raises is told with the error and changes nothing."""
        if callback is None:
            return
        try:
            self._call_back(attempt, job, callback, *what)
        except LostClaim:
            raise
        except BaseException as raised:  # also a timeout of its own
            log.warning(
                "a callback raised; the attempt's outcome stands",
                exc_info=raised,
                extra={**attempt.log_fields(), "callback": callback.function},
            )
            error.add_note(f"Its callback {callback.function} raised {type(raised).__name__}: {raised}")

    def _call_back(self, attempt: Attempt, job: RunningJob, callback: Callback, *what: Any) -> None:
        fence = _fence(attempt)
        if fence.why is None:  # an attempt is interrupted once
            ran = time.monotonic() - (attempt.began or time.monotonic())
            attempt.timeout = math.inf if callback.timeout is None else round(ran + callback.timeout, 3)
            self.extend(attempt)
        fence.run(job.call_back, _find(callback.function), *what)

    def _admit(self, name: str) -> None:
        """Refuse a function that may not be called, or is none."""
        if not any(fnmatchcase(name, pattern) for pattern in self.allowed):
            raise Unrecoverable(
                f"the job calls the function {name!r}, which this worker may not run: the settings' rq_functions are "
                f"{', '.join(map(repr, self.allowed)) or 'none'}. Add its name or a pattern to JOBKIT_RQ_FUNCTIONS "
                "(names and patterns with commas between them, e.g. acme.tasks.*), then retry the job"
            )
        if inspect.iscoroutinefunction(_find(name)):
            raise Unrecoverable(f"{name} is async: enqueue it as a payload with an async processor")


def _fence(attempt: Attempt) -> ThreadFence:
    fence = attempt.fence
    if not isinstance(fence, ThreadFence):
        raise TypeError(f"expected an attempt that runs in a thread, got the fence {fence!r}")
    return fence


def _again(name: str, asked: AskedAgain, terms: Terms) -> Outcome:
    wait = asked.wait(terms.returned)
    if wait is None:
        return Failed(f"{name} returned an rq.Retry after {terms.returned} retries, of {asked.most}", None, asked=True)
    return Failed(f"{name} returned an rq.Retry: {terms.returned + 1} of {asked.most}", wait, asked=True)


def _find(name: str) -> Callable[..., Any]:
    """The function `pkg.module.name`, or the method `pkg.module.Class.name`."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is not None and (path == error.name or path.startswith(f"{error.name}.")):
                continue
            raise
        for part in parts[cut:]:
            found = getattr(found, part, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
        break
    raise Unrecoverable(
        f"the job calls {name!r}, but there is no such function here: deploy its code, then retry the job"
    )
