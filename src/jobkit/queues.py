"""QueueSpec, and the set of a kit's queues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol

import attrs

from jobkit import checks, limits
from jobkit.errors import ConfigurationError, DeclarationError, UnknownQueue, did_you_mean
from jobkit.policies import Retention, Retry
from jobkit.timing import LONGEST, Seconds, seconds

LEAST_MEMORY: Final = 2**20
"""Bytes: a `max_memory` below this is a number of something else."""
MAX_JOBS: Final = 1000


def _name(value: str) -> str:
    return checks.name(value, "QueueSpec(name)")


def _timeout(value: Seconds) -> float:
    return seconds(value, "QueueSpec(timeout=)", above=0.0, most=LONGEST)


def _fair_by(value: str | None) -> str | None:
    return limits.field_name(value, "QueueSpec(fair_by=)")


def _isolation(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if value not in ("thread", "process"):
        hint = did_you_mean(value, ("thread", "process")) if isinstance(value, str) else ""
        raise DeclarationError(f"QueueSpec(isolation=): expected 'thread' or 'process', got {value!r}{hint}")


@checks.spelt
@attrs.frozen
class QueueSpec:
    """A queue and the rules of its jobs.

    Args:
        name: as payloads say it in `queue=`; a member of a StrEnum keeps both in step.
        concurrency: how many of its jobs one worker process runs at a time.
        timeout: seconds (or timedelta) that one attempt may take.
        retry: how often a failing job is tried.
        retention: how many ended jobs are kept.
        isolation: "thread" runs a job in the worker's process (async processors on its event loop), "process" each in a
            child process, which is killed at its timeout and takes no other job down when it dies.
        max_memory: with "process": bytes; a child whose peak passed it is replaced after its job, and one that passes
            twice as much is killed. None: no limit.
        max_jobs: with "process": how many jobs a child runs before it is replaced.
        rate_limit: a RateLimit, or several: how often jobs are begun, by all workers together.
        max_running: how many jobs run at a time in all workers together: a number, or MaxRunning by a field.
        fair_by: a field of the payload; its values take turns, however many jobs wait for each.
        weights: with fair_by: turns by value; 1 for those that are not named.
        ageing: seconds (or timedelta) that a step of priority is worth: a job goes before those of the next lower
            priority that were enqueued up to so long before it, so no job waits behind later ones for longer. None: the
            queue has no priorities.

    """

    name: str = attrs.field(converter=_name)
    concurrency: int = attrs.field(default=10, validator=checks.at_least(1), kw_only=True)
    timeout: float = attrs.field(default=180.0, converter=_timeout, kw_only=True)
    retry: Retry = attrs.field(default=Retry(), validator=checks.a(Retry), kw_only=True)
    retention: Retention = attrs.field(default=Retention(), validator=checks.a(Retention), kw_only=True)
    isolation: Literal["thread", "process"] = attrs.field(default="thread", validator=_isolation, kw_only=True)
    max_memory: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(checks.at_least(LEAST_MEMORY)), kw_only=True
    )
    max_jobs: int = attrs.field(default=MAX_JOBS, validator=checks.at_least(1), kw_only=True)
    rate_limit: tuple[limits.RateLimit, ...] = attrs.field(default=(), converter=limits.rate_limits, kw_only=True)
    max_running: tuple[limits.MaxRunning, ...] = attrs.field(default=(), converter=limits.max_running, kw_only=True)
    fair_by: str | None = attrs.field(default=None, converter=_fair_by, kw_only=True)
    weights: Mapping[str, float] | None = attrs.field(default=None, converter=limits.weights, kw_only=True, hash=False)
    ageing: float | None = attrs.field(default=None, converter=limits.ageing, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse options that go with others that are not there."""
        if self.weights and self.fair_by is None:
            raise DeclarationError(
                f"QueueSpec({self.name!r}, weights=): turns of fair keys, and there are none; add fair_by='tenant_id'"
            )
        if self.isolation == "thread":
            for option, given in (("max_memory", self.max_memory is not None), ("max_jobs", self.max_jobs != MAX_JOBS)):
                if given:
                    raise DeclarationError(
                        f"QueueSpec({self.name!r}, {option}=): a limit of the child processes, and there are none; add "
                        "isolation='process'",
                    )


class Override(Protocol):
    """What the environment may change of a queue; None leaves it as the code says."""

    @property
    def concurrency(self) -> int | None:
        """Jobs at a time in one worker process."""
        ...

    @property
    def timeout(self) -> float | None:
        """Seconds for one attempt."""
        ...

    @property
    def attempts(self) -> int | None:
        """All attempts of a job, the first included."""
        ...


def normalised(name: str) -> str:
    """The queue's name as environment variables spell it.

    >>> normalised("invoice-processing")
    'INVOICE_PROCESSING'
    """
    return re.sub(r"[^A-Z0-9]+", "_", name.upper())


class QueueSet:
    """The queues of a kit by name, with the environment's overrides applied.

    Args:
        specs: the queues; two whose names meet when normalised are refused.
        overrides: by normalised name, in any case, e.g. {"invoice_processing": ...}.

    Raises:
        DeclarationError: a spec is none, or two names meet.
        ConfigurationError: an override names no queue.

    """

    def __init__(self, specs: Iterable[QueueSpec], overrides: Mapping[str, Override] | None = None) -> None:
        self._specs: dict[str, QueueSpec] = {}
        keys: dict[str, str] = {}
        given: object = specs
        if isinstance(given, str | QueueSpec | Mapping) or not isinstance(given, Iterable):
            raise DeclarationError(f"queues=: expected a list of QueueSpec, got {given!r}")
        for spec in specs:
            each: object = spec
            if not isinstance(each, QueueSpec):
                raise DeclarationError(
                    f"queues=: expected a QueueSpec, got {each!r}; did you mean QueueSpec({each!r})?",
                )
            key = normalised(spec.name)
            if key in keys:
                raise DeclarationError(
                    f"queues {keys[key]!r} and {spec.name!r} meet in the environment variable "
                    f"JOBKIT_QUEUES__{key}__...; rename one",
                )
            keys[key] = spec.name
            self._specs[spec.name] = spec
        for key, override in (overrides or {}).items():
            name = keys.get(normalised(key))
            if name is None:
                raise ConfigurationError(
                    f"JOBKIT_QUEUES__{normalised(key)}__...: no queue has this name"
                    f"{did_you_mean(normalised(key), keys)}",
                )
            self._specs[name] = _overridden(self._specs[name], override)

    @property
    def names(self) -> tuple[str, ...]:
        """The queues' names, in the order of their declaration."""
        return tuple(self._specs)

    def get(self, name: str) -> QueueSpec:
        """The queue of this name; raises UnknownQueue with the nearest."""
        try:
            return self._specs[name]
        except KeyError:
            raise UnknownQueue(
                f"unknown queue {name!r}{did_you_mean(name, self._specs) or '.'} Declared: "
                f"{', '.join(map(repr, self._specs)) or 'none'}; a new one is a QueueSpec in JobKit(queues=[...])",
            ) from None

    def __iter__(self) -> Iterator[QueueSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, name: object) -> bool:
        return name in self._specs


def _overridden(spec: QueueSpec, override: Override) -> QueueSpec:
    changes: dict[str, Any] = {}
    if override.concurrency is not None:
        changes["concurrency"] = override.concurrency
    if override.timeout is not None:
        changes["timeout"] = override.timeout
    if override.attempts is not None:
        changes["retry"] = attrs.evolve(spec.retry, attempts=override.attempts)
    return attrs.evolve(spec, **changes) if changes else spec
