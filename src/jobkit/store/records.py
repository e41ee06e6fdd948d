"""The values that cross the store's door: what is written, what a claim hands out, what can be read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from jobkit.store.terms import Terms


@attrs.frozen
class NewJob:
    """A job to write. `delay_ms` counts from the server's clock at the write; `due_ms` is a unix time; 0 is none.

    `flow` is empty, or JSON: what the job is subject to beyond its queue's order, by letter. "d" is its dedupe key:
    {"k": digest, "m": mode, "w": ms}.
    """

    id: str
    queue: str
    data: bytes
    extra: bytes
    timeout: float
    delay_ms: int = 0
    due_ms: int = 0
    flow: bytes = b""


# These two are made once a job, and a frozen class takes four times as long to make. Nobody changes them.
@attrs.define
class Claimed:
    """One attempt that a worker owns, until it ends it or its lease runs out.

    `token` names the claim and fences all that the attempt writes; `epoch` grows with each claim of the job; `failed`
    counts the attempts that failed before; `parked_ms` is the unix time since which no processor could take it (0:
    not parked). `timeout` is None where the job's hash holds none, and below 0 where it says that there is no limit.
    `terms` is what a plain RQ client asked for; None for jobkit's own jobs.
    """

    queue: str
    id: str
    token: str
    data: bytes
    extra: bytes
    timeout: float | None
    failed: int
    epoch: int
    rescues: int
    parked_ms: int
    terms: Terms | None = None


@attrs.define
class Finished:
    """A completed attempt on its way to Redis. `value` is JSON; times are unix seconds."""

    queue: str
    id: str
    token: str
    value: bytes
    started: float
    ended: float
    follow_ups: Sequence[NewJob] = ()
    terms: Terms | None = None


@attrs.frozen
class Batch:
    """The answer to a claim or an advance.

    `lost` holds the tokens of finishes that were refused; `wait` is the time in seconds to the next job that falls
    due, None where none is known.
    """

    claimed: list[Claimed]
    lost: list[str]
    wait: float | None


_WHOLE: Final = attrs.validators.instance_of(int)


@attrs.frozen(kw_only=True)
class QueueRules:
    """What the scripts need to know of a queue: how many and how long ended jobs are kept (ms; 0: no limit by age)."""

    keep_done: int = attrs.field(validator=_WHOLE)
    keep_dead: int = attrs.field(validator=_WHOLE)
    done_age_ms: int = attrs.field(default=0, validator=_WHOLE)
    dead_age_ms: int = attrs.field(default=0, validator=_WHOLE)


@attrs.frozen(kw_only=True)
class JobFields:
    """A job's hash as it was read. `name` is empty where the data cannot be read; `data` keeps the bytes.

    `gave`: it gave something back, so that its result stream holds it as long as it is kept.
    """

    id: str
    queue: str
    state: str
    name: str
    data: bytes
    failed: int
    attempts: int
    epoch: int
    rescues: int
    tags: Mapping[str, str]
    progress: tuple[float, str] | None
    error: str | None
    reason: str | None
    worker: str | None
    created_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    due_at: datetime | None
    timeout: float | None
    gave: bool


@attrs.frozen(kw_only=True)
class ResultEntry:
    """One attempt's entry in the result stream.

    `kind`: 1 finished, 2 failed, 3 stopped or canceled, 4 retried, 0 where somebody else wrote the entry.
    """

    kind: int
    value: bytes | None
    error: str | None
    worker: str
    started_at: datetime | None
    ended_at: datetime | None


@attrs.frozen(kw_only=True)
class QueueCounts:
    """How many jobs of a queue are in each state, as Redis holds them now."""

    name: str
    queued: int
    started: int
    scheduled: int
    deferred: int
    finished: int
    failed: int
    canceled: int


@attrs.frozen(kw_only=True)
class WorkerFields:
    """A worker as it registered itself."""

    name: str
    queues: tuple[str, ...]
    state: str
    hostname: str
    pid: int | None
    birth: datetime | None
    last_heartbeat: datetime | None
    finished: int
    failed: int
