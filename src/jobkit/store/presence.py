"""A worker as RQ's tools see it: its hash, the sets that list it, its heartbeat and its command channel."""

from __future__ import annotations

import json
import os
import platform
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import attrs
from redis.exceptions import RedisError

from jobkit.store.codec import unix_time
from jobkit.store.connection import Operation, Store
from jobkit.store.operations import bookkeep
from jobkit.store.trouble import explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TTL: Final = 90
"""Seconds that a worker's hash outlives its last heartbeat."""
_DEATH_TTL: Final = 60


@attrs.frozen
class Presence:
    """One worker's registration under RQ's keys (names and fields read from rq 3.0's worker)."""

    store: Store
    name: str
    queues: Sequence[str]

    def birth(self) -> None:
        """Register: `rq info` and dashboards list the worker from now on."""
        keys = self.store.keys
        now = self._now()
        fields: dict[str, Any] = {
            "birth": now,
            "last_heartbeat": now,
            "queues": ",".join(self.queues),
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "ip_address": "",
            "version": f"jobkit-{version('jobkit')}",
            "python_version": platform.python_version(),
            "state": "idle",
        }
        key = keys.worker(self.name)
        self._write(
            ("DEL", key),
            ("HSET", key, *(word for pair in fields.items() for word in pair)),
            ("EXPIRE", key, _TTL),
            ("SADD", keys.workers, key),
            *(("SADD", keys.workers_of(queue), key) for queue in self.queues),
        )

    def beat(self, *, busy: bool) -> None:
        """Say that the worker lives, and whether it has jobs in hand. Registers again where Redis had lost it."""
        key = self.store.keys.worker(self.name)
        if not self.store.run(Operation(None, (), ("EXISTS", key), int)):
            self.birth()
        self._write(
            ("HSET", key, "last_heartbeat", self._now(), "state", "busy" if busy else "idle"),
            ("EXPIRE", key, _TTL),
        )

    def death(self) -> None:
        """Unregister; RQ keeps the hash of a dead worker for a minute."""
        keys = self.store.keys
        key = keys.worker(self.name)
        self._write(
            ("SREM", keys.workers, key),
            *(("SREM", keys.workers_of(queue), key) for queue in self.queues),
            ("HSET", key, "death", self._now()),
            ("EXPIRE", key, _DEATH_TTL),
            ("DEL", f"{key}:executions"),
        )

    def commands(self, *, poll: float = 1.0) -> Iterator[dict[str, Any] | None]:
        """RQ's commands to this worker as they come (`command`, `job_id`, ...), None each `poll` seconds without one.

        Raises StoreUnavailable when the subscription breaks; iterate again to subscribe anew.
        """
        pubsub = self.store.pubsub()
        try:
            pubsub.subscribe(self.store.keys.commands(self.name))
            while True:
                message = pubsub.get_message(timeout=poll)
                yield _command(message) if message else None
        except (RedisError, OSError) as error:
            raise explain(error, "command channel") from error
        finally:
            pubsub.close()

    def is_suspended(self) -> bool:
        """Whether an operator has suspended all workers (`rq suspend`)."""
        return bool(self.store.run(Operation(None, (), ("EXISTS", self.store.keys.suspended), int)))

    def _write(self, *commands: tuple[Any, ...]) -> None:
        self.store.run(bookkeep(self.store.keys, commands))

    def _now(self) -> str:
        seconds, micros = self.store.run(Operation(None, (), ("TIME",), lambda reply: reply))
        return unix_time(int(seconds)).replace(microsecond=int(micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _command(message: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found = json.loads(message["data"])
    except (ValueError, TypeError, KeyError):
        return {"command": "unreadable", "data": repr(message.get("data"))}
    return found if isinstance(found, dict) else {"command": "unreadable", "data": repr(found)}
