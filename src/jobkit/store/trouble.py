"""Trouble: what a failed call is called, and what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from jobkit.errors import StoreFull, StoreUnavailable, UnsuitableServer

if TYPE_CHECKING:
    from jobkit.errors import JobkitError

_AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)
# Redis 7 begins an error that arose in a script with its code; 6.2 has it in the middle, behind a dash.
_CODE: Final = re.compile(r"(?:^|-)(OOM|MISCONF|NOREPLICAS|READONLY|LOADING|MASTERDOWN|BUSY|UNBLOCKED|NOPERM|NOAUTH)\b")
_PASSING: Final = {
    "MISCONF": "it cannot write to its disk, and takes no writes until it can: mend its disk (its log has the reason)",
    "NOREPLICAS": "fewer replicas follow it than its min-replicas-to-write asks for, so it takes no writes",
    "READONLY": "it is a replica: after a failover JOBKIT_REDIS_URL has to lead to the new master",
    "LOADING": "it is reading its data after a start",
    "MASTERDOWN": "it is a replica whose master is away",
    "BUSY": "a script that somebody started does not end: SCRIPT KILL ends it",
    "NOPERM": "its ACL does not let this user do it; grant the user RQ's key prefix, scripts and channels",
    "NOAUTH": "it wants a password: JOBKIT_REDIS_URL has to carry one",
    "UNBLOCKED": "it has become a replica: after a failover JOBKIT_REDIS_URL has to lead to the new master",
}
"""Refusals that pass, by themselves or when somebody mends the server.

The same call may succeed later, so nobody throws away what it was to record.
"""


def refusal(error: Exception) -> str | None:
    """The code by which Redis says that it takes no such call now; None for any other error."""
    if isinstance(error, ReadOnlyError):  # redis-py takes the code off the errors that it has classes for
        return "READONLY"
    if isinstance(error, OutOfMemoryError):
        return "OOM"
    if isinstance(error, NoPermissionError):
        return "NOPERM"
    found = _CODE.search(str(error)) if isinstance(error, ResponseError) else None
    return found[1] if found is not None else None


def explain(error: Exception, what: str) -> JobkitError:
    """The jobkit error for a redis-py one, with the remedy."""
    code = refusal(error)
    if code == "OOM":
        return StoreFull(
            f"{what}: Redis is at its maxmemory and refused to store more ({error}). Nothing was written. "
            "Running jobs still finish; free memory, lower retention or raise maxmemory"
        )
    if code is not None:
        return StoreUnavailable(f"{what}: Redis takes no such call now: {_PASSING[code]} ({error})")
    if isinstance(error, _AWAY):
        return StoreUnavailable(
            f"{what}: no usable answer from Redis ({type(error).__name__}: {error}). "
            "Check that the server runs and that JOBKIT_REDIS_URL names it"
        )
    return UnsuitableServer(f"{what}: Redis refused the call: {error}")
