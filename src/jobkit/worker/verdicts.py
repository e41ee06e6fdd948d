"""What an error means for the job. Pure: the same arguments, the same outcome."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

import attrs

from jobkit.errors import JobStopped, JobTimeout, LostClaim, NotSerialisable, Parked, Unrecoverable
from jobkit.worker.outcomes import Dropped, Ended, Failed, Outcome, Snoozed
from jobkit.worker.tracebacks import error_text

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("jobkit.worker")

PARK_FIRST: Final = 5.0
PARK_LONGEST: Final = 300.0
PARK_PATIENCE: Final = 24 * 3600.0
"""Seconds: the first wait of a parked job, the longest, and how long it is kept waiting in all."""


@attrs.frozen(slots=True)
class Budget:
    """The attempts a job may have: `attempts` in all, of which `failed` are behind it.

    `backoff(n)` is the wait in seconds after the n-th failure.
    """

    attempts: int
    failed: int
    backoff: Callable[[int], float]


def judge(error: BaseException, budget: Budget, *, timeout: float | None, parked_for: float) -> Outcome:
    """The outcome of an attempt that raised `error`.

    Args:
        error: what it raised, or the interruption that ended it.
        budget: the attempts that are left.
        timeout: the attempt's timeout in seconds, for the text.
        parked_for: seconds since the job was first parked; 0 when it was not.

    """
    if isinstance(error, LostClaim):
        return Dropped(str(error) or "another worker owns the job")
    if isinstance(error, JobStopped):
        return Ended("stopped", str(error) or "stopped while it ran")
    if isinstance(error, Parked):
        return _park(error, parked_for)
    text = error_text(error)
    if isinstance(error, JobTimeout):
        text = f"{text}\nThe attempt ran longer than its timeout of {timeout} s."
    if isinstance(error, Unrecoverable | NotSerialisable):
        return Failed(text, None, error)
    return Failed(text, next_delay(budget), error)


def next_delay(budget: Budget) -> float | None:
    """The wait in seconds before the next attempt; None when the budget is spent."""
    failed = budget.failed + 1
    if failed >= budget.attempts:
        return None
    try:
        delay = float(budget.backoff(failed))
    except Exception:
        log.exception("the queue's backoff raised; waiting a default time", extra={"failed": failed})
        return default_backoff(failed)
    if not math.isfinite(delay) or delay < 0:
        log.error(
            "the queue's backoff: expected seconds, 0 or more; waiting a default time",
            extra={"failed": failed, "backoff": repr(delay)},
        )
        return default_backoff(failed)
    return delay


def default_backoff(failed: int) -> float:
    """The wait where a queue's own function gave none: 2, 4, 8 s ..., at most an hour."""
    return min(3600.0, 2.0 ** min(failed, 20))


def _park(error: Parked, parked_for: float) -> Outcome:
    if parked_for >= PARK_PATIENCE:
        hours = PARK_PATIENCE / 3600
        return Failed(
            f"{type(error).__name__}: {error}\nNo worker could take the job for {hours:g} hours.", None, error
        )
    # Each wait is about as long as all before it together, so that the age alone tells the next one.
    return Snoozed(min(PARK_LONGEST, parked_for + PARK_FIRST), error.reason, parked=True)
