"""Every exception of jobkit. A message says what was expected, what came and what to do.

JobkitError
├── DeclarationError (TypeError)         a class, function, policy or call is declared wrongly
│   ├── UnknownQueue                     no QueueSpec has this name
│   └── UnknownJobName                   no processor has this name
├── ConfigurationError (ValueError)      settings and environment variables
│   └── UnsuitableServer                 the Redis server cannot keep jobkit's promises
├── WrongPayload (ValueError)            the data does not fit the payload's class
├── NotSerialisable (ValueError)         the value does not come back from JSON as it went in
│   ├── PayloadTooLarge
│   └── UnkeptStep                       also Unrecoverable
├── Unrecoverable                        raise it in a processor to skip the retries that are left
│   ├── UnkeptStep                       a step's value cannot be kept; its effects have happened
│   ├── WrongResult                      the processor's result is not what its payload promises
│   └── CorruptJob                       the job's record cannot be read
│       └── PickledJob                   the record is a pickle, which jobkit never opens
├── JobFailed, JobCancelled              what a handle's `result()` raises for a job that ended so
├── ResultTimeout (TimeoutError)         `result(timeout=...)` waited in vain; the job goes on
├── LockTimeout (TimeoutError)           `kit.lock(wait=...)` waited in vain
├── LockLost                             a lock's lease was not renewed in time
├── JobNotFound (LookupError)            no record has this id; retention may have removed it
├── MissingProvider (LookupError)        the container lacks what a processor's view asks for
├── ServicesRefused (AttributeError)     a processor reached beyond its view
├── ScopeClosed (RuntimeError)           a Scoped provider was asked outside a job
├── StoreUnavailable (ConnectionError)   Redis did not answer
├── StoreFull                            Redis has no memory left; nothing was written
├── ProcessDied                          the child process of an attempt ended before the attempt did
└── Parked                               not for this worker's code: the job waits, no attempt is used
Interruption (BaseException)             ends an attempt from outside; never swallow one
├── LostClaim                            another worker owns the job now
├── JobTimeout                           the queue's timeout is over
└── JobStopped                           the job was stopped or cancelled while it ran
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class JobkitError(Exception):
    """The base of everything that jobkit raises, apart from interruptions."""


class DeclarationError(JobkitError, TypeError):
    """A payload, processor, policy, spec or call is declared wrongly. The remedy is in the code."""


class UnknownQueue(DeclarationError):
    """A payload or a command names a queue that no QueueSpec declares."""


class UnknownJobName(DeclarationError):
    """A job or a command has a name that no processor carries."""


class ConfigurationError(JobkitError, ValueError):
    """A setting or an environment variable is wrong, unknown or missing."""


class UnsuitableServer(ConfigurationError):
    """The Redis server is too old, a cluster, or configured so that it may drop jobs."""


class WrongPayload(JobkitError, ValueError):
    """The data or the value does not fit the payload's class."""


class NotSerialisable(JobkitError, ValueError):
    """A value does not come back from JSON as it went in; the message names the field."""


class PayloadTooLarge(NotSerialisable):
    """The encoded payload exceeds `Settings.max_payload` (bytes)."""


class Unrecoverable(JobkitError):
    """Raise it in a processor when trying again cannot help: the job goes to the dead letters at once."""


class UnkeptStep(NotSerialisable, Unrecoverable):
    """A step's value cannot be kept as JSON. A retry would repeat the step's effects, so there is none."""


class WrongResult(Unrecoverable):
    """A processor gave back something other than its payload promises. Its effects have happened: no retry."""


class CorruptJob(Unrecoverable):
    """The job's record or payload cannot be read. It goes to the dead letters with its bytes."""


class PickledJob(CorruptJob):
    """The job's data is a pickle. jobkit never unpickles: enqueue it with RQ's JSON serializer."""


class JobFailed(JobkitError):
    """The job whose result was asked for has failed for good; the message carries its error."""


class JobCancelled(JobkitError):
    """The job whose result was asked for was cancelled or stopped."""


class ResultTimeout(JobkitError, TimeoutError):
    """The job had not ended within the given seconds. It goes on; ask again."""


class LockTimeout(JobkitError, TimeoutError):
    """Somebody else held the mutex for as long as `kit.lock(wait=...)` waits."""


class LockLost(JobkitError):
    """A lock's lease was not renewed in time: somebody else may hold the mutex. Stop what it protects."""


class JobNotFound(JobkitError, LookupError):
    """No job has this id: a typing mistake, or retention has removed it."""


class MissingProvider(JobkitError, LookupError):
    """The container lacks a member that a processor's view declares; the message names slice and member."""


class ServicesRefused(JobkitError, AttributeError):
    """A processor sees domain, infrastructure and cross_cutting; nothing else, and it changes nothing there."""


class ScopeClosed(JobkitError, RuntimeError):
    """A `Scoped` provider was asked outside a job, or after its job had ended."""


class StoreUnavailable(JobkitError, ConnectionError):
    """Redis did not answer in time, refused the connection, or takes no such calls now; the message says which."""


class StoreFull(JobkitError):
    """Redis is at its memory limit and refused the write whole."""


class ProcessDied(JobkitError):
    """The child process that ran an attempt ended by itself; the message says how, and how much memory it had taken."""


class Parked(JobkitError):
    """This worker's code is too old for the job: the job waits, keeps its attempts, and `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Interruption(BaseException):
    """Ends an attempt from outside. A BaseException, so that `except Exception` in a processor lets it pass."""


class LostClaim(Interruption):
    """The attempt's lease ran out and the job may run elsewhere: this attempt may change nothing any more."""


class JobTimeout(Interruption):
    """The attempt ran longer than its queue's timeout."""


class JobStopped(Interruption):
    """The job was stopped or cancelled while this attempt ran."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message: "; did you mean 'x'?" with the nearest of the known words, or nothing.

    >>> did_you_mean("backof", ["attempts", "backoff"])
    "; did you mean 'backoff'?"
    """
    spelt = {each.casefold(): each for each in known}
    folded = word.casefold()
    import difflib  # noqa: PLC0415 - needed only where something is wrong

    near = difflib.get_close_matches(folded, spelt, n=1, cutoff=0.6)
    if not near and len(folded) > 2:  # noqa: PLR2004 - "prod" means "production", "p" may mean anything
        near = [each for each in spelt if each.startswith(folded)]
    return f"; did you mean {spelt[near[0]]!r}?" if near else ""
