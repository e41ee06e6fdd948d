"""What a child process answers: plain data, since what a job raised or gave may not travel."""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING, Any

import attrs

from jobkit.errors import JobkitError
from jobkit.worker.outcomes import Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("jobkit.worker")


@attrs.frozen
class Ready:
    """The child takes jobs. `peak` is its memory in bytes before the first."""

    peak: int


@attrs.frozen
class Refused:
    """The child cannot take jobs: what its container or its processors raised, pickled where it can be."""

    text: str
    raised: bytes | None


@attrs.frozen
class Answer:
    """How an attempt ended.

    Attributes:
        raised: the exception of a failed attempt, pickled; None where that cannot be done.
        then: the follow-ups of a completed one, pickled, for the hooks.
        started: unix time.
        ended: unix time.
        peak: the child's memory so far, in bytes.

    """

    outcome: Outcome
    raised: bytes | None
    then: bytes | None
    started: float
    ended: float
    peak: int


def pack_error(error: BaseException) -> bytes | None:
    """The exception for another process; None where it would not come back as it is."""
    try:
        packed = pickle.dumps(error)
        back = pickle.loads(packed)  # noqa: S301 - written in the line above
    except Exception as why:  # noqa: BLE001 - an application's own exceptions, and whatever they do when copied
        log.debug("an exception does not travel", extra={"type": type(error).__qualname__, "why": str(why)})
        return None
    return packed if type(back) is type(error) else None


def open_error(packed: bytes | None, text: str) -> BaseException:
    """The exception; where it cannot be had, a JobkitError with the last line of the text."""
    if packed is not None:
        try:
            error: BaseException = pickle.loads(packed)  # noqa: S301 - from a child that runs this worker's code
        except Exception:
            log.exception("a child's exception cannot be read")
        else:
            return error
    lines = text.strip().splitlines()
    return JobkitError(f"in a child process: {lines[-1] if lines else 'an error without a text'}")


def pack_follow_ups(items: Sequence[Any]) -> bytes | None:
    """The follow-ups for another process; None where there are none, or their classes cannot be found by name."""
    if not items:
        return None
    try:
        return pickle.dumps(tuple(items))
    except Exception:
        log.exception("follow-ups cannot be given to on_completed; they are enqueued all the same")
        return None


def bare(outcome: Outcome) -> Outcome:
    """The outcome without the exception, which travels apart."""
    return attrs.evolve(outcome, raised=None) if isinstance(outcome, Failed) and outcome.raised else outcome
