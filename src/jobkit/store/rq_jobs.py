"""RQ's own Job object of a running vanilla job: what `rq.get_current_job()` gives its function and its callbacks get.

Everything here goes through RQ's public API, with the JSON serializer. rq is imported when the first vanilla job runs:
a worker without any does not pay for it. The connections are not the worker's own, because an interruption may cut an
exchange of the function's in half.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import attrs
from redis.exceptions import RedisError

from jobkit.errors import CorruptJob, LostClaim
from jobkit.store.codec import inflate
from jobkit.store.trouble import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.store.connection import Store
    from jobkit.store.records import Claimed


@attrs.frozen
class AskedAgain:
    """A function returned an `rq.Retry`: so many retries in all, and the wait before each in seconds."""

    most: int
    intervals: Sequence[float]

    def wait(self, returned: int) -> float | None:
        """The wait before the next one after `returned` of them; None where there have been enough."""
        if returned >= self.most:
            return None
        return float(self.intervals[min(returned, len(self.intervals) - 1)]) if self.intervals else 0.0


def asked_again(value: Any) -> AskedAgain | None:
    """What a function's value asks for, where it is an `rq.Retry`."""
    module = sys.modules.get("rq.job")  # whoever returns one has imported it
    if module is None or not isinstance(value, module.Retry):
        return None
    return AskedAgain(value.max, tuple(value.intervals))


class RqJob:
    """One vanilla job while it runs here."""

    def __init__(self, job: Any, connection: Any) -> None:
        self._job = job
        self._connection = connection

    def perform(self) -> object:
        """Call its function as RQ does: inside, `rq.get_current_job()` is this job, with its meta."""
        value: object = self._job.perform()
        return value

    def call_back(self, fn: Callable[..., Any], *what: Any) -> None:
        """Call a callback with the job, a connection and what is said about its end."""
        fn(self._job, self._connection, *what)


class RqJobs:
    """Fetches jobs as RQ sees them. Safe for threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gate = threading.Lock()
        self._own: Store | None = None

    def fetch(self, claimed: Claimed) -> RqJob:
        """The claimed job as RQ's object; it calls what was claimed, whatever its record says by now.

        Raises StoreUnavailable, LostClaim where it is gone, CorruptJob where RQ cannot read its record.
        """
        from rq.exceptions import NoSuchJobError  # noqa: PLC0415 - see the module's docstring
        from rq.job import Job  # noqa: PLC0415

        client: Any = self._connection()
        try:
            job: Any = Job.fetch(claimed.id, connection=client, serializer="json")
        except NoSuchJobError as error:
            raise LostClaim(f"job {claimed.id} was deleted while it was claimed") from error
        except (RedisError, OSError) as error:
            raise explain(error, "reading a vanilla job") from error
        except Exception as error:
            raise CorruptJob(f"RQ cannot read job {claimed.id}: {type(error).__name__}: {error}") from error
        job.data = inflate(claimed.data)
        return RqJob(job, client)

    def close(self) -> None:
        """Close its connections."""
        with self._gate:
            if self._own is not None:
                self._own.close()
                self._own = None

    def _connection(self) -> Any:
        with self._gate:
            if self._own is None:
                self._own = self._store.another()
            return self._own.client


def give_slots_on(store: Store) -> None:
    """Give the rate-limit slots of jobs that have ended to those that wait for them.

    RQ's workers do so after each job. This is what their maintenance does for slots that were left over: RQ's own
    scripts, each checking the job's status again, so any number of callers may do it at once. Raises StoreUnavailable.
    """
    from rq.rate_limit import RateLimitRegistry  # noqa: PLC0415 - see the module's docstring

    client: Any = store.client
    try:
        for registry in RateLimitRegistry.all(client):
            registry.cleanup()
    except (RedisError, OSError) as error:
        raise explain(error, "giving rate-limit slots on") from error
