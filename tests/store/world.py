"""A store on an empty server, a worker's hand in it, and a look at every key."""

from collections.abc import Mapping
from functools import cached_property
from itertools import count
from typing import Any

import attrs
import redis

from jobkit.store import Store, operations
from jobkit.store.channel import ClaimChannel
from jobkit.store.claims import Claims
from jobkit.store.codec import pack_data, pack_extra
from jobkit.store.inspection import Inspection
from jobkit.store.records import Batch, Claimed, Finished, JobFields, NewJob, QueueRules
from jobkit.store.sweeps import Sweeps

RULES = {"a": QueueRules(keep_done=1000, keep_dead=1000), "b": QueueRules(keep_done=1000, keep_dead=1000)}
EXTRA = pack_extra(3, ["exp", 2, 2, None, 0], {"tenant": "t_1"})
NO_WAIT = 0.0


@attrs.define(slots=False)
class World:
    """What a test of the store needs; `pass_time` moves the clock that the scripts read."""

    url: str
    rules: Mapping[str, QueueRules] = attrs.field(factory=lambda: dict(RULES))
    _numbers: Any = attrs.field(factory=count)

    @cached_property
    def store(self) -> Store:
        return Store.open(self.url)

    @cached_property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    @cached_property
    def claims(self) -> Claims:
        return Claims(self.store, "w1", self.rules)

    @cached_property
    def other_claims(self) -> Claims:
        return Claims(self.store, "w2", self.rules)

    @cached_property
    def channel(self) -> ClaimChannel:
        return self.claims.channel("c")

    @cached_property
    def sweeps(self) -> Sweeps:
        return Sweeps(self.store)

    @cached_property
    def inspection(self) -> Inspection:
        return Inspection(self.store)

    def close(self) -> None:
        if "channel" in self.__dict__:
            self.channel.close()
        self.store.close()
        self.redis.close()

    # --- jobs in

    def new(self, job_id: str | None = None, queue: str = "a", **options: Any) -> NewJob:
        name = job_id or f"j{next(self._numbers)}"
        return NewJob(name, queue, pack_data("acme.work", 1, b'{"n":1}'), EXTRA, options.pop("timeout", 60), **options)

    def enqueue(self, *jobs: NewJob | str) -> list[bool]:
        whole = [self.new(job) if isinstance(job, str) else job for job in jobs]
        return self.store.run(operations.enqueue(self.store.keys, whole))

    def started(self, job_id: str = "j", queue: str = "a") -> Claimed:
        """A job that worker w1 owns."""
        self.enqueue(self.new(job_id, queue))
        return self.claim_one(queue)

    # --- a worker's calls

    def claim(self, want: int = 100, queue: str = "a") -> list[Claimed]:
        return self.channel.claim({queue: want}, block=NO_WAIT).claimed

    def claim_one(self, queue: str = "a") -> Claimed:
        (claimed,) = self.claim(1, queue)
        return claimed

    def finish(self, *claimed: Claimed, follow_ups: tuple[NewJob, ...] = (), want: int = 0) -> Batch:
        """Finish the claims; the follow-ups belong to the first."""
        done = [done_with(claim, follow_ups=follow_ups if i == 0 else ()) for i, claim in enumerate(claimed)]
        return self.channel.advance(done, {"a": want})

    def fail(self, claimed: Claimed, delay: float | None = None, error: str = "Traceback\nValueError: no") -> bool:
        return self.claims.fail(claimed, error=error, delay=delay, started=1.0, ended=2.0)

    def end(self, claimed: Claimed, state: Any = "canceled", reason: str = "said so") -> bool:
        return self.claims.end(claimed, state=state, reason=reason, started=1.0, ended=2.0)

    def cancel(self, job_id: str, queue: str = "a", keep: int = 1000) -> str:
        return self.store.run(operations.cancel(self.store.keys, job_id, queue, reason="not wanted", keep=keep))

    def retry(self, job_id: str, queue: str = "a") -> str:
        return self.store.run(operations.retry(self.store.keys, job_id, queue))

    def rescue(self, queue: str = "a") -> tuple[int, int, int]:
        return self.sweeps.rescue(queue, keep_dead=self.rules[queue].keep_dead)

    # --- time

    def now_ms(self) -> int:
        seconds, micros = self.redis.time()
        return max(seconds * 1000 + micros // 1000, int(self.redis.get("rq:jk:clock") or 0))

    def pass_time(self, seconds: float, *, swept: bool = True) -> None:
        """Move the scripts' clock; `swept` as if sweeps had gone on meanwhile."""
        now = self.now_ms() + round(seconds * 1000)
        self.redis.set("rq:jk:clock", now)
        if swept:
            self.redis.set("rq:jk:sweep", now)

    # --- what is there

    def read(self, job_id: str) -> JobFields:
        fields = self.inspection.job(job_id)
        assert fields is not None, job_id
        return fields

    def state(self, job_id: str) -> str:
        found = self.inspection.job(job_id)
        return found.state if found else "missing"

    def hash(self, job_id: str) -> dict[str, str]:
        return {k.decode(): v.decode(errors="replace") for k, v in self.redis.hgetall(f"rq:job:{job_id}").items()}

    def waiting(self, queue: str = "a") -> list[str]:
        return [job_id.decode() for job_id in self.redis.lrange(f"rq:queue:{queue}", 0, -1)]

    def members(self, key: str) -> set[str]:
        return {member.decode() for member in self.redis.zrange(key, 0, -1)}

    def kinds(self, job_id: str) -> list[int]:
        """The kinds of a job's result entries, oldest first: 1 finished, 2 failed, 3 stopped, 4 retried."""
        return [entry.kind for _, entry in self.store.run(operations.attempts(self.store.keys, job_id))]

    def all_keys(self) -> set[str]:
        return {key.decode() for key in self.redis.keys("*")}


def done_with(claimed: Claimed, *, value: bytes = b'{"ok":true}', follow_ups: tuple[NewJob, ...] = ()) -> Finished:
    """The claim, finished."""
    return Finished(claimed.queue, claimed.id, claimed.token, value, 1.5, 2.5, follow_ups, claimed.terms)
