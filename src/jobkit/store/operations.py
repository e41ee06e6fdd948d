"""What a client asks of the store, each as a described call: enqueue, read, cancel, retry, wait for a result."""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any, Final

from jobkit.errors import CorruptJob, LostClaim
from jobkit.store.codec import (
    JobData,
    VanillaCall,
    pack_error,
    read_time,
    storable,
    unix_time,
    unpack_data,
    unpack_error,
    unpack_extra,
)
from jobkit.store.connection import Operation
from jobkit.store.records import JobFields, NewJob, ResultEntry
from jobkit.store.scripting import script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from jobkit.store.keys import Keys

ENQUEUE_AT_MOST: Final = 500
"""Jobs one enqueue call may write (design 5.1)."""

_READ: Final = (
    "origin",
    "status",
    "data",
    "jk",
    "jk_failed",
    "jk_epoch",
    "jk_rescues",
    "jk_progress",
    "jk_error",
    "jk_reason",
    "worker_name",
    "created_at",
    "enqueued_at",
    "started_at",
    "ended_at",
    "timeout",
    "jk_timeout",
    "retries_left",
    "jk_gave",
    "jk_lane",
    "jk_held",
)


def record(job: NewJob, block: int) -> tuple[Any, ...]:
    """A job as the eight values of a script's record."""
    whole = int(job.timeout)
    timeout = whole if whole == job.timeout else job.timeout
    return (job.id, job.data, timeout, job.extra, job.delay_ms, job.due_ms, job.flow, block)


def blocks(keys: Keys, queues: Iterable[str]) -> tuple[list[str], Mapping[str, int]]:
    """The KEYS of a script for these queues, and each queue's place in them."""
    distinct = list(dict.fromkeys(queues))
    names = keys.head
    for queue in distinct:
        names += keys.block(queue)
    return names, {queue: place for place, queue in enumerate(distinct, 1)}


def enqueue(
    keys: Keys, jobs: Sequence[NewJob], *, fence: tuple[str, str, str] | None = None
) -> Operation[list[bool | str]]:
    """Write up to 500 jobs, all or none; answers for each whether it was created (False: a job of that id exists).

    Where a job was not written because its dedupe key is bound, the answer is the id of the bound one.

    `fence` is (queue, id, token) of the attempt that enqueues: it raises LostClaim where that lost its claim.
    """
    if not 0 < len(jobs) <= ENQUEUE_AT_MOST:
        raise ValueError(f"enqueue: expected 1 to {ENQUEUE_AT_MOST} jobs a call, got {len(jobs)}")
    queues = [job.queue for job in jobs] + ([fence[0]] if fence else [])
    names, place = blocks(keys, queues)
    plain = fence is None and not any(job.flow for job in jobs)
    guard: tuple[Any, ...] = (place[fence[0]], fence[1], fence[2]) if fence else ("", "", "")
    args: list[Any] = [keys.prefix, len(jobs)]
    if not plain:
        args += guard
    for job in jobs:
        args += record(job, place[job.queue])

    def parse(reply: Any) -> list[bool | str]:
        if reply == -1:
            raise LostClaim(f"job {guard[1]} lost its claim: what it enqueues is not taken")
        return [each.decode() if isinstance(each, bytes) else bool(each) for each in reply]

    return Operation(script("push" if plain else "enqueue"), names, args, parse)


def standing_ids(jobs: Sequence[NewJob], answers: Sequence[bool | str]) -> list[str]:
    """The ids of the jobs that stand for these after an enqueue: their own, or those of the jobs they would repeat."""
    return [answer if isinstance(answer, str) else job.id for job, answer in zip(jobs, answers, strict=True)]


def read(
    keys: Keys, job_id: str, *, waits: bool = False
) -> Operation[tuple[JobFields, tuple[str, ResultEntry] | None] | None]:
    """The job and its latest result entry with that entry's id, at one moment; None where there is no such job.

    A job that gives nothing back leaves no entry, unless somebody `waits` for it: its end will leave one then.
    """

    def parse(reply: Any) -> tuple[JobFields, tuple[str, ResultEntry] | None] | None:
        if not reply:
            return None
        found, due, last = reply
        fields = job_fields(job_id, dict(zip(_READ, found, strict=True)), due)
        return fields, (parse_entry(last) if last else None)

    return Operation(script("read"), keys.head, [keys.prefix, job_id, int(waits), *_READ], parse)


def bookkeep(keys: Keys, commands: Sequence[Sequence[Any]]) -> Operation[int]:
    """What a worker writes about itself, in one step that passes on a full server; answers how many commands ran."""
    args: list[Any] = [keys.prefix]
    for words in commands:
        args += (len(words), *words)
    return Operation(script("bookkeep"), keys.head, args, int)


def origin(keys: Keys, job_id: str) -> Operation[str | None]:
    """The queue a job belongs to; None where there is no such job."""
    return Operation(None, (), ("HGET", keys.job(job_id), "origin"), lambda reply: reply.decode() if reply else None)


def cancel(keys: Keys, job_id: str, queue: str, *, reason: str, keep: int) -> Operation[str]:
    """End a job that waits or runs: 'canceled', 'ended' (too late) or 'missing'."""
    names, _ = blocks(keys, [queue])
    args = [keys.prefix, job_id, storable(reason), pack_error(f"canceled: {reason}"), keep]
    return Operation(script("cancel"), names, args, _text)


def retry(keys: Keys, job_id: str, queue: str) -> Operation[str]:
    """Give an ended job a new life: 'queued', 'waiting' (it was queued), 'missing', or the state that cannot."""
    names, _ = blocks(keys, [queue])
    return Operation(script("retry"), names, [keys.prefix, job_id], _text)


def entries_after(keys: Keys, job_id: str, after: str, *, block_ms: int) -> Operation[list[tuple[str, ResultEntry]]]:
    """Result entries newer than `after` ('0-0': all); waits up to `block_ms` for the first.

    Keep `block_ms` under the socket timeout.
    """

    def parse(reply: Any) -> list[tuple[str, ResultEntry]]:
        if not reply:
            return []
        streams = list(reply.values()) if isinstance(reply, dict) else [stream[1] for stream in reply]
        rows = streams[0]
        return [parse_entry(row) for row in rows]

    words = ("XREAD", "BLOCK", block_ms, "STREAMS", keys.results(job_id), after)
    return Operation(None, (), words, parse)


def attempts(keys: Keys, job_id: str) -> Operation[list[tuple[str, ResultEntry]]]:
    """The entries of a job's attempts, oldest first (RQ keeps about ten)."""
    words = ("XRANGE", keys.results(job_id), "-", "+")
    return Operation(None, (), words, lambda reply: [parse_entry(row) for row in reply or ()])


def _text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _pairs(flat: Any) -> dict[bytes, bytes]:
    if isinstance(flat, dict):
        return flat
    return dict(zip(flat[::2], flat[1::2], strict=True))


def parse_entry(row: Any) -> tuple[str, ResultEntry]:
    """A stream row, as redis-py or a script gives it, as (entry id, entry)."""
    entry_id, flat = row
    fields = _pairs(flat)
    value, error = fields.get(b"return_value"), fields.get(b"exc_string")
    entry = ResultEntry(
        kind=_number(fields.get(b"type"), int, 0),
        value=base64.b64decode(value) if value else None,
        error=unpack_error(error) if error else None,
        worker=fields.get(b"worker_name", b"").decode(errors="replace"),
        started_at=_seconds(fields.get(b"execution_started_at")),
        ended_at=_seconds(fields.get(b"execution_ended_at")),
    )
    return entry_id.decode() if isinstance(entry_id, bytes) else entry_id, entry


def _seconds(text: bytes | None) -> datetime | None:
    seconds = _number(text, float, None)
    try:
        return unix_time(seconds) if seconds is not None else None
    except (ValueError, OverflowError, OSError):  # beyond what a date can be
        return None


def _readable_name(data: bytes) -> tuple[str, bytes]:
    try:
        found = unpack_data(data)
    except CorruptJob:
        return "", data
    return (found.name, found.payload) if isinstance(found, JobData) else (_vanilla_name(found), data)


def _vanilla_name(call: VanillaCall) -> str:
    return call.function


def job_fields(job_id: str, hash_: Mapping[str, bytes | None], due: bytes | None) -> JobFields:
    """A job's hash as a value; a job that cannot be read whole is still shown with what can be."""

    def text(name: str) -> str | None:
        raw = hash_.get(name)
        return raw.decode(errors="replace") if raw else None

    def number(name: str) -> Any:
        return _number(hash_.get(name), int, 0)

    data = hash_.get("data") or b""
    try:
        extra = unpack_extra(hash_.get("jk") or b"")
    except CorruptJob:
        extra = None
    name, _ = _readable_name(data)
    return JobFields(
        id=job_id,
        queue=text("origin") or "",
        state=_state(text("status") or "", hash_),
        name=name,
        data=data,
        failed=number("jk_failed"),
        attempts=extra.attempts if extra else _vanilla_attempts(hash_),
        epoch=number("jk_epoch"),
        rescues=number("jk_rescues"),
        tags=extra.tags if extra else {},
        progress=_progress(hash_.get("jk_progress")),
        error=text("jk_error"),
        reason=text("jk_reason"),
        worker=text("worker_name"),
        created_at=read_time(hash_.get("created_at")),
        enqueued_at=read_time(hash_.get("enqueued_at")),
        started_at=read_time(hash_.get("started_at")),
        ended_at=read_time(hash_.get("ended_at")),
        due_at=_seconds(due),
        timeout=_timeout(hash_),
        gave=hash_.get("jk_gave") is not None,
    )


def _state(status: str, hash_: Mapping[str, bytes | None]) -> str:
    """Deferred is RQ's word for a job that waits in a lane, or that a pause holds; to whoever asks it is queued."""
    waits = status == "deferred" and (hash_.get("jk_lane") or hash_.get("jk_held"))
    return "queued" if waits else status


def _vanilla_attempts(hash_: Mapping[str, bytes | None]) -> int:
    """The attempts that a plain RQ client's job has in all: those behind it, this one or the next, RQ's retries."""
    failed: int = max(0, _number(hash_.get("jk_failed"), int, 0))
    left: int = max(0, _number(hash_.get("retries_left"), int, 0))
    return max(1, failed + left + (hash_.get("status") != b"failed"))


def _progress(raw: bytes | None) -> tuple[float, str] | None:
    try:
        percent, message = json.loads(raw or b"null")
        return float(percent), str(message)
    except (ValueError, TypeError):  # none yet, or somebody else's
        return None


def _timeout(hash_: Mapping[str, bytes | None]) -> float | None:
    """RQ's whole seconds, or the exact ones of jk_timeout where nobody has changed RQ's since."""
    whole: float | None = _number(hash_.get("timeout"), float, None)
    exact: float | None = _number(hash_.get("jk_timeout"), float, None)
    return exact if exact is not None and math.ceil(exact) == whole else whole


def _number(raw: bytes | None, kind: Callable[[bytes], Any], default: Any) -> Any:
    """A hash field as a number; the default where it is absent or somebody wrote something else there."""
    if not raw:
        return default
    try:
        found = kind(raw)
        return found if math.isfinite(found) else default
    except (ValueError, OverflowError):
        return default
