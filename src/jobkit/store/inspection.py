"""Looking at what is stored, for operators: queues, jobs of a state, workers. Reads only, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.store.codec import read_time
from jobkit.store.connection import UNDECODABLE, Operation, Store
from jobkit.store.operations import read
from jobkit.store.records import JobFields, QueueCounts, WorkerFields

if TYPE_CHECKING:
    from collections.abc import Sequence

STATES: Final = ("queued", "started", "scheduled", "deferred", "finished", "failed", "canceled")
_REGISTRY: Final = {"started": "wip"}


@attrs.frozen
class Inspection:
    """Reads of one Redis. Raises StoreUnavailable."""

    store: Store

    def job(self, job_id: str) -> JobFields | None:
        """A job as it stands; None where there is none."""
        found = self.store.run(read(self.store.keys, job_id))
        return found[0] if found else None

    def queue_names(self) -> list[str]:
        """Every queue RQ knows of, sorted."""
        keys = self.store.keys
        cut = len(keys.queue(""))
        found = self.store.run(Operation(None, (), ("SMEMBERS", keys.queues), list))
        return sorted(name.decode()[cut:] for name in found)

    def counts(self, queues: Sequence[str]) -> list[QueueCounts]:
        """How many jobs of each queue are in each state."""
        keys = self.store.keys
        words: list[tuple[Any, ...]] = []
        for queue in queues:
            words.append(("LLEN", keys.queue(queue)))
            words += (("ZCARD", keys.registry(_REGISTRY.get(state, state), queue)) for state in STATES[1:])
        replies = self.store.run_many(words)
        width = len(STATES)
        return [
            QueueCounts(name=queue, **dict(zip(STATES, replies[i * width : (i + 1) * width], strict=True)))
            for i, queue in enumerate(queues)
        ]

    def jobs(self, queue: str, state: str, *, offset: int = 0, limit: int = 50) -> list[JobFields]:
        """Jobs of a queue in a state, in the registry's order (queued: next first; ended: newest first)."""
        if state not in STATES:
            raise ValueError(f"state: expected one of {', '.join(STATES)}, got {state!r}")
        keys, last = self.store.keys, offset + limit - 1
        if state == "queued":
            words: tuple[Any, ...] = ("LRANGE", keys.queue(queue), offset, last)
        elif state in {"finished", "failed", "canceled"}:
            words = ("ZREVRANGE", keys.registry(state, queue), offset, last)
        else:
            words = ("ZRANGE", keys.registry(_REGISTRY.get(state, state), queue), offset, last)
        members: list[bytes] = self.store.run(Operation(None, (), words, list))
        ids = [member.decode(errors=UNDECODABLE).partition(":")[0] for member in members]
        found = (self.store.run(read(keys, job_id)) for job_id in ids)
        return [job[0] for job in found if job is not None]

    def workers(self) -> list[WorkerFields]:
        """The registered workers whose heartbeat has not expired, sorted by name."""
        keys = self.store.keys
        names = sorted(self.store.run(Operation(None, (), ("SMEMBERS", keys.workers), list)))
        hashes = self.store.run_many([("HGETALL", name) for name in names])
        return [
            _worker(name.decode()[len(keys.worker("")) :], fields)
            for name, fields in zip(names, hashes, strict=True)
            if fields
        ]


def _worker(name: str, fields: dict[bytes, bytes]) -> WorkerFields:
    def text(field: bytes) -> str:
        return fields.get(field, b"").decode(errors="replace")

    return WorkerFields(
        name=name,
        queues=tuple(filter(None, text(b"queues").split(","))),
        state=text(b"state") or "?",
        hostname=text(b"hostname"),
        pid=int(text(b"pid")) if text(b"pid").isdigit() else None,
        birth=read_time(fields.get(b"birth")),
        last_heartbeat=read_time(fields.get(b"last_heartbeat")),
        finished=int(text(b"successful_job_count") or 0),
        failed=int(text(b"failed_job_count") or 0),
    )
