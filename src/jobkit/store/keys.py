"""The names of everything jobkit keeps in Redis.

RQ's keys keep RQ's names (read from rq 3.0's sources: `rq.defaults.RQ_KEY_PREFIX` and each module's templates); ours
begin with `{prefix}:jk:`. The prefix is RQ's environment variable `RQ_KEY_PREFIX`, which RQ itself reads once, when
it is imported; two prefixes in one process therefore cannot work.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import attrs

from jobkit.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The order is the scripts' own (scripts/lib/keys.lua, table Q).
_BLOCK = (
    "queue:{q}",
    "wip:{q}",
    "jk:lease:{q}",
    "jk:bell:{q}",
    "scheduled:{q}",
    "finished:{q}",
    "failed:{q}",
    "canceled:{q}",
    "deferred:{q}",
    "jk:dead:{q}",
    "jk:gone:{q}",
    "jk:follow:{q}",
    "scheduler-lock:{q}",
    "jk:rules:{q}",
)
_HEAD = ("jk:clock", "queues", "suspended", "jk:grace", "jk:pauses")
_KEPT = 10_000
"""Queues whose keys are kept made; a plain client may name any."""


@attrs.frozen
class Keys:
    """The keyspace under one prefix (without its colon)."""

    prefix: str = "rq"
    _blocks: dict[str, tuple[str, ...]] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Keys:
        """RQ's prefix as RQ reads it; raises ConfigurationError for one that RQ refuses."""
        prefix = environ.get("RQ_KEY_PREFIX", "rq")
        if not re.fullmatch(r"[A-Za-z0-9_.:{}-]+", prefix):
            raise ConfigurationError(
                f"RQ_KEY_PREFIX: expected letters, digits and _ . : - {{ }}, got {prefix!r}; RQ refuses it as well"
            )
        return cls(prefix)

    def _of(self, rest: str) -> str:
        return f"{self.prefix}:{rest}"

    @property
    def head(self) -> list[str]:
        """The keys that every script is given first."""
        return [self._of(name) for name in _HEAD]

    def block(self, queue: str) -> tuple[str, ...]:
        """One queue's keys, in the order of the scripts."""
        block = self._blocks.get(queue)
        if block is None:
            block = tuple(self._of(template.replace("{q}", queue)) for template in _BLOCK)
            if len(self._blocks) < _KEPT:
                self._blocks[queue] = block
        return block

    def queue(self, queue: str) -> str:
        """RQ's list of a queue's waiting ids."""
        return self._of(f"queue:{queue}")

    def registry(self, state: str, queue: str) -> str:
        """RQ's registry of a state: wip, finished, failed, scheduled, deferred, canceled."""
        return self._of(f"{state}:{queue}")

    def lease(self, queue: str) -> str:
        """Zset `id:token` -> end of the lease in ms: who owns what, and until when."""
        return self._of(f"jk:lease:{queue}")

    def bell(self, queue: str) -> str:
        """List with at most one token: rung by whatever makes a job of the queue runnable."""
        return self._of(f"jk:bell:{queue}")

    def job(self, job_id: str) -> str:
        """RQ's hash of a job."""
        return self._of(f"job:{job_id}")

    def results(self, job_id: str) -> str:
        """RQ's stream of a job's results, one entry an attempt."""
        return self._of(f"results:{job_id}")

    def steps(self, job_id: str) -> str:
        """Hash step name -> JSON of the steps a job has done."""
        return self._of(f"jk:steps:{job_id}")

    def reply(self, caller: str) -> str:
        """The last reply given to a numbered caller."""
        return self._of(f"jk:reply:{caller}")

    def worker(self, name: str) -> str:
        """RQ's hash of a worker."""
        return self._of(f"worker:{name}")

    def workers_of(self, queue: str) -> str:
        """RQ's set of the workers that serve a queue."""
        return self._of(f"workers:{queue}")

    def commands(self, worker: str) -> str:
        """RQ's command channel of a worker."""
        return self._of(f"pubsub:{worker}")

    @property
    def queues(self) -> str:
        """RQ's set of known queues (by their list keys)."""
        return self._of("queues")

    @property
    def workers(self) -> str:
        """RQ's set of workers (by their hash keys)."""
        return self._of("workers")

    @property
    def suspended(self) -> str:
        """RQ's flag: no worker takes work while it is there."""
        return self._of("suspended")

    @property
    def rate_limits(self) -> str:
        """RQ's set of the rate limits that jobs wait for."""
        return self._of("rl-keys")

    @property
    def specs(self) -> str:
        """Hash queue -> JSON of the rules a sweep needs, so that any process can sweep any queue."""
        return self._of("jk:specs")

    @property
    def pauses(self) -> str:
        """What is paused, JSON."""
        return self._of("jk:pauses")

    @property
    def clock(self) -> str:
        """The latest time that a script saw, in ms."""
        return self._of("jk:clock")

    @property
    def sweep(self) -> str:
        """When a sweep was last at work, in ms."""
        return self._of("jk:sweep")

    @property
    def peek(self) -> str:
        """Who looks for jobs that were pushed without a bell."""
        return self._of("jk:peek")
