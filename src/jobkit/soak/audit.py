"""What Redis holds of a soak: who has what in hand, how each job is recorded, what was left behind; and its removal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.store.connection import Operation
from jobkit.store.inspection import Inspection
from jobkit.store.operations import parse_entry
from jobkit.store.sweeps import Sweeps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobkit.store import Store

_CHUNK: Final = 500
FINISHED: Final = 1
"""The kind of a result entry that says that the job finished."""


@attrs.frozen(kw_only=True)
class Record:
    """A job as Redis holds it: the last claim's epoch and token, which a finish leaves there; failures take the token.

    `finishes` are the (epoch, token) of its entries that say it finished.
    """

    id: str
    state: str
    epoch: int
    token: str | None
    error: str | None
    finishes: list[tuple[int, str]]


@attrs.frozen
class Audit:
    """Looks at one run's queue and jobs. Raises StoreUnavailable."""

    store: Store
    run: str

    def held(self) -> dict[str, set[str]]:
        """The ids of the jobs in hand, by the name of the worker that has them."""
        found: dict[str, set[str]] = {}
        members = [each.decode() for each in self._call("ZRANGE", self.store.keys.lease(self.run), 0, -1)]
        ids = [each.rpartition(":")[0] for each in members]
        workers = self._pipeline([("HGET", self.store.keys.job(job_id), "worker_name") for job_id in ids])
        for job_id, worker in zip(ids, workers, strict=True):
            found.setdefault(worker.decode() if worker else "", set()).add(job_id)
        return found

    def unfinished(self) -> int:
        """Jobs that have not come to an end."""
        (counts,) = Inspection(self.store).counts([self.run])
        left = self._call("LLEN", f"{self.store.keys.prefix}:jk:follow:{self.run}")
        return counts.queued + counts.started + counts.scheduled + counts.deferred + int(left)

    def records(self, ids: Sequence[str]) -> Iterator[Record]:
        """Every job that there is of these."""
        keys = self.store.keys
        for start in range(0, len(ids), _CHUNK):
            part = ids[start : start + _CHUNK]
            fields = self._pipeline(
                [("HMGET", keys.job(each), "status", "jk_epoch", "jk_token", "jk_error") for each in part]
            )
            streams = self._pipeline([("XRANGE", keys.results(each), "-", "+") for each in part])
            for job_id, (status, epoch, token, error), rows in zip(part, fields, streams, strict=True):
                if status is None:
                    continue
                yield Record(
                    id=job_id,
                    state=status.decode(),
                    epoch=int(epoch or 0),
                    token=_text(token),
                    error=_text(error),
                    finishes=list(_finishes(rows)),
                )

    def leaks(self, workers: Sequence[str]) -> list[str]:
        """What should have gone with the jobs' ends and the workers' deaths, by key or member.

        A registration may have expired since the last worker swept, so the next worker's trim is done first.
        """
        keys, sweeps = self.store.keys, Sweeps(self.store)
        rule = sweeps.known()[0].get(self.run)
        if rule is not None:
            sweeps.trim(self.run, rule)
        found: list[str] = []
        for zset in (keys.lease(self.run), keys.registry("wip", self.run)):
            found += [f"{zset} {each.decode()}" for each in self._call("ZRANGE", zset, 0, -1)]
        for kind in ("execution", "executions", "jk:steps", "jk:corrupt"):
            found += self._scan(f"{keys.prefix}:{kind}:{self.run}-*")
        listed = {each.decode() for each in self._call("SMEMBERS", keys.workers)}
        listed |= {each.decode() for each in self._call("SMEMBERS", keys.workers_of(self.run))}
        gone = [name for name in sorted(set(workers)) if keys.worker(name) in listed]
        alive = self._pipeline([("EXISTS", keys.worker(name)) for name in gone])
        found += [f"{keys.workers} {name}" for name, there in zip(gone, alive, strict=True) if not there]
        ours = [key for name in workers for key in self._of_worker(name)[1:]]
        ttls = self._pipeline([("TTL", key) for key in ours])
        return [*found, *(key for key, ttl in zip(ours, ttls, strict=True) if ttl == -1)]

    def clean(self, workers: Sequence[str]) -> None:
        """Remove the run: its jobs, its queue, its workers' registrations."""
        keys = self.store.keys
        for pattern in (f"{keys.prefix}:*:{self.run}-*", f"{keys.prefix}:*:{self.run}"):
            found = self._scan(pattern)
            self._pipeline([("UNLINK", *found[i : i + _CHUNK]) for i in range(0, len(found), _CHUNK)])
        self._call("HDEL", keys.specs, self.run)
        self._call("SREM", keys.queues, keys.queue(self.run))
        for name in workers:
            self._call("SREM", keys.workers, keys.worker(name))
            self._call("UNLINK", *self._of_worker(name))

    def workers(self) -> set[str]:
        """The names of the run's workers that are registered."""
        cut = len(self.store.keys.worker(""))
        return {each.decode()[cut:] for each in self._call("SMEMBERS", self.store.keys.workers_of(self.run))}

    def size(self) -> int:
        """How many keys the server holds, whoever's they are."""
        return int(self._call("DBSIZE"))

    def _of_worker(self, name: str) -> list[str]:
        keys = self.store.keys
        callers = [f"{name}:claim", f"{name}:advance"]
        return [
            keys.worker(name),
            f"{keys.worker(name)}:executions",
            *(keys.reply(each) for each in callers),
            *(keys.bell(f"worker:{each}") for each in callers),
        ]

    def _scan(self, pattern: str) -> list[str]:
        found, cursor = set[str](), 0
        while True:
            cursor, page = self._call("SCAN", cursor, "MATCH", pattern, "COUNT", 5000)
            found |= {each.decode() for each in page}
            cursor = int(cursor)
            if not cursor:
                return sorted(found)

    def _call(self, *words: Any) -> Any:
        return self.store.run(Operation(None, (), words, lambda reply: reply))

    def _pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        return self.store.run_many(commands) if commands else []


def _finishes(rows: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> Iterator[tuple[int, str]]:
    for row in rows:
        _, entry = parse_entry(row)
        if entry.kind == FINISHED:
            yield int(entry.value or 0), row[1][b"execution_id"].decode()


def _text(raw: bytes | None) -> str | None:
    return raw.decode() if raw is not None else None
