"""What a plain RQ client asked for besides the call: retries, repeats, times to live, callbacks. Pure.

RQ keeps each in a field of the job's hash (read from rq 3.0's `Job.restore`); a claim hands them out for jobs that are
not jobkit's own, in the order of the table TERMS in scripts/lib/claim.lua. A field that cannot be read counts as
absent: somebody else wrote it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

_CALLBACK_TIMEOUT: Final = 60.0
"""Seconds that RQ gives a callback without a timeout of its own (`rq.defaults.CALLBACK_TIMEOUT`)."""
_LONGEST: Final = 2**31 - 1
"""Seconds: what is longer is not a wait or a time to live that Redis takes."""


@attrs.frozen
class Callback:
    """A function to call when the job has ended so, by its dotted name, and the seconds it may take.

    A timeout of None is no limit.
    """

    function: str
    timeout: float | None


@attrs.frozen(kw_only=True)
class Terms:
    """One job's terms. Waits are in seconds; a time to live of None means that the client named none.

    `returned` counts the retries that the function asked for by returning an `rq.Retry`.
    """

    retries_left: int = 0
    retry_intervals: Sequence[float] = ()
    retry_in_front: bool = False
    returned: int = 0
    repeats_left: int = 0
    repeat_intervals: Sequence[float] = ()
    result_ttl: int | None = None
    failure_ttl: int | None = None
    on_success: Callback | None = None
    on_failure: Callback | None = None
    on_stopped: Callback | None = None

    @property
    def callbacks(self) -> Sequence[Callback]:
        """Those that it names."""
        return [each for each in (self.on_success, self.on_failure, self.on_stopped) if each is not None]

    def retry_wait(self) -> float:
        """The wait after the failure that comes now, as RQ counts: a list that is too short begins with its first."""
        waits = self.retry_intervals
        if not waits:
            return 0.0
        return waits[min(max(len(waits) - self.retries_left, 0), len(waits) - 1)]

    def of_finish(self) -> str:
        """What the script advance needs to know; empty where there is nothing to tell."""
        told: dict[str, Any] = {}
        if self.result_ttl is not None:
            told["ttl"] = self.result_ttl
        if self.repeats_left > 0:
            first, *rest = self.repeat_intervals or (0.0,)
            told |= {
                "left": self.repeats_left - 1,
                "wait": round(first * 1000),
                "intervals": json.dumps(rest or [first]),
            }
        return json.dumps(told) if told else ""

    def of_failure(self, *, asked: bool, again: bool) -> str:
        """What the script fail needs to know: `asked` by the function itself, `again` where another attempt follows."""
        told: dict[str, Any] = {"how": "returned" if asked else "raised"}
        if again and not asked:
            told |= {"left": max(0, self.retries_left - 1), "was": self.retries_left}
        if self.retry_in_front:
            told["front"] = True
        if self.failure_ttl is not None:
            told["ttl"] = self.failure_ttl
        return json.dumps(told)

    def of_stop(self) -> str:
        """What the script end needs to know."""
        return "" if self.failure_ttl is None else json.dumps({"ttl": self.failure_ttl})


def read_terms(row: Sequence[bytes]) -> Terms:
    """The terms as a claim hands them out."""
    left, waits, front, returned, repeats, between, result_ttl, failure_ttl, *callbacks = row
    on_success, on_failure, on_stopped = (_callback(*callbacks[i : i + 2]) for i in (0, 2, 4))
    return Terms(
        retries_left=max(0, _whole(left) or 0),
        retry_intervals=_waits(waits),
        retry_in_front=_whole(front) == 1,
        returned=max(0, _whole(returned) or 0),
        repeats_left=max(0, _whole(repeats) or 0),
        repeat_intervals=_waits(between),
        result_ttl=_whole(result_ttl),
        failure_ttl=_whole(failure_ttl),
        on_success=on_success,
        on_failure=on_failure,
        on_stopped=on_stopped,
    )


def _whole(raw: bytes) -> int | None:
    try:
        found = int(raw)
    except ValueError:
        return None
    return found if abs(found) <= _LONGEST else None


def _waits(raw: bytes) -> Sequence[float]:
    try:
        found = json.loads(raw)
        waits = [float(each) for each in found]
    except (ValueError, TypeError):
        return ()
    return [each if math.isfinite(each) and 0 <= each <= _LONGEST else 0.0 for each in waits]


def _callback(name: bytes, timeout: bytes) -> Callback | None:
    if not name:
        return None
    seconds = _whole(timeout)
    limit = _CALLBACK_TIMEOUT if seconds is None or seconds == 0 else float(seconds)
    return Callback(name.decode(errors="backslashreplace"), limit if limit > 0 else None)
