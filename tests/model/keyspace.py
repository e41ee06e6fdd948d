"""Every key of a server as a value, and every key that a state of the model lets be there.

The two are equal, or something leaked, was lost, or is in two places.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import redis

from tests.model.job import QUEUES, RANK_OF, RANKS, RULES, ModelJob
from tests.model.model import Model

_DUMP = """
local out = {}
for i, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'stream' then
    value = {redis.call('XLEN', key), redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1][2]}
  end
  out[i] = {key, kind, redis.call('PTTL', key), value}
end
return out
"""
# The newest entries of a stream of results (scripts/lib/result.lua).
_ENTRIES = 10
_TEN_YEARS = 315_360_000
_FAR = 300_000_000
"""Seconds ahead, nearly ten years: RQ's cleaners are kept away by no less."""
# Fields that nothing hangs on: what a job is, and what is shown of its latest attempt.
_UNWATCHED = {
    "job": {"data", "jk", "timeout", "started_at", "last_heartbeat"},
    "execution": {"id", "created_at", "last_heartbeat"},
}


@attrs.frozen
class Keyspace:
    """Keys with their values, and the keys that expire by themselves."""

    values: dict[str, Any]
    expiring: set[str]

    def less(self, other: "Keyspace") -> dict[str, Any]:
        """What this one has, or has otherwise, than the other: all that a failure need show."""
        return {
            key: (value, "expires" if key in self.expiring else "stays")
            for key, value in self.values.items()
            if (value, key in self.expiring) != (other.values.get(key), key in other.expiring)
        }


def found(server: redis.Redis, now: int) -> Keyspace:
    """What is on the server. A registry that RQ's cleaners would find something in is shown with its scores."""
    keyspace = Keyspace({}, set())
    # Offers of parked jobs are hints, that go by themselves.
    for raw, kind, ttl, value in server.eval(_DUMP, 0):
        key = raw.decode()
        if ttl >= 0 and re.match("rq:jk:parked(_by)?:", key):
            continue
        keyspace.values[key] = _value(key, kind.decode(), value, now)
        if ttl >= 0:
            keyspace.expiring.add(key)
    return keyspace


def _value(key: str, kind: str, value: Any, now: int) -> Any:
    if key.startswith("rq:jk:reply:"):
        return "kept"
    return _READERS[kind](key, value, now)


def _stream(key: str, value: Any, now: int) -> Any:
    length, entry = value
    last = _pairs(entry)
    return length, int(last["type"]), last["execution_id"]


def _zset(key: str, value: Any, now: int) -> Any:
    scores = {member: float(score) for member, score in _pairs(value).items()}
    is_far = re.match("rq:(wip|failed|canceled|executions):", key) and all(
        score > now / 1000 + _FAR for score in scores.values()
    )
    return set(scores) if is_far else scores


def _hash(key: str, value: Any, now: int) -> Any:
    fields = _pairs(value)
    return {name: fields[name] for name in fields.keys() - _UNWATCHED.get(key.split(":")[1], frozenset())}


_READERS: Mapping[str, Callable[[str, Any, int], Any]] = {
    "string": lambda _key, value, _now: value.decode(),
    "list": lambda _key, value, _now: [member.decode() for member in value],
    "set": lambda _key, value, _now: {member.decode() for member in value},
    "hash": _hash,
    "zset": _zset,
    "stream": _stream,
}


def _pairs(flat: list[bytes]) -> dict[str, str]:
    texts = [each.decode() for each in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def expected(model: Model) -> Keyspace:
    """What may be on the server, and has to be."""
    values: dict[str, Any] = {
        "rq:jk:clock": str(model.now),
        "rq:jk:specs": {queue: json.dumps(attrs.asdict(rule)) for queue, rule in RULES.items()},
        "rq:queues": {f"rq:queue:{queue}" for queue in QUEUES},
    }
    constant = set(values)
    values |= {f"rq:jk:reply:{worker}:c": "kept" for worker in model.kept_replies}
    values |= {f"rq:scheduler-lock:{queue}": "jobkit" for queue in model.promoted}
    if model.grace:
        values["rq:jk:grace"] = str(model.grace)
    expiring = values.keys() - constant
    keys = {f"rq:jk:dedupe:{queue}:{key}": f"{when} {bound}" for (queue, key), (when, bound) in model.keys.items()}
    values |= keys
    expiring |= keys.keys()
    if model.swept:
        values["rq:jk:sweep"] = str(model.swept)
    for (worker, tally), count in model.tallies.items():
        values.setdefault(f"rq:worker:{worker}", {})[tally] = str(count)
    for queue in QUEUES:
        values |= {key: value for key, value in _of_queue(model, queue) if value}
    for job_id, job in model.jobs.items():
        values |= {key: value for key, value in _of_job(job_id, job) if value}
        if job.renewed:
            member = f"{job_id}:{job.token}"
            values[f"rq:executions:{job_id}"] = {job.token}
            values[f"rq:execution:{member}"] = {"job_id": job_id, "worker_name": job.worker}
            values.setdefault(f"rq:worker:{job.worker}:executions", set()).add(member)
            expiring |= {f"rq:executions:{job_id}", f"rq:execution:{member}", f"rq:worker:{job.worker}:executions"}
    return Keyspace(values, expiring)


def _of_queue(model: Model, queue: str) -> Iterator[tuple[str, Any]]:
    jobs = {job_id: job for job_id, job in model.jobs.items() if job.queue == queue}
    owned = {f"{job_id}:{job.token}": job.lease_end for job_id, job in jobs.items() if job.token}
    yield f"rq:queue:{queue}", model.waiting[queue]
    yield f"rq:jk:bell:{queue}", ["1"] if queue in model.bells else None
    yield f"rq:jk:lease:{queue}", owned
    yield f"rq:wip:{queue}", set(owned)
    yield f"rq:scheduled:{queue}", {j: job.due / 1000 for j, job in jobs.items() if job.state == "scheduled"}
    for rank, registry in RANKS.items():
        ranked = {job_id: when for when, job_id in model.ranks[rank, queue]}
        if registry == "finished":
            yield "rq:finished:" + queue, {job_id: when / 1000 + _TEN_YEARS for job_id, when in ranked.items()}
        else:
            yield f"rq:jk:{rank}:{queue}", ranked
            yield f"rq:{registry}:{queue}", set(ranked)


def _of_job(job_id: str, job: ModelJob) -> Iterator[tuple[str, Any]]:
    fields = {
        "status": job.state,
        "origin": job.queue,
        "jk_key": job.key,
        "created_at": iso(job.created),
        "enqueued_at": job.enqueued and iso(job.enqueued),
        "ended_at": job.ended and iso(job.ended),
        "worker_name": job.worker,
        "jk_token": job.token or job.finished_by,
        "jk_exec": job.renewed and "1",
        "jk_done": job.done,
        "jk_tried": job.tried,
        "jk_epoch": job.epoch,
        "jk_failed": job.failed,
        "jk_rescues": job.rescues,
        "jk_died": ", ".join(job.died),
        "jk_parked": job.parked and f"{job.parked} {','.join(job.parked_by)}",
        "jk_reason": job.reason,
        "jk_error": job.error,
        "jk_dead": job.state in RANK_OF and job.state != "finished" and "1",
        "jk_progress": job.progress,
        "jk_steps": job.saves,
        "jk_tell": job.told and "1",
        "jk_gave": job.gave and "1",
    }
    yield f"rq:job:{job_id}", {name: str(value) for name, value in fields.items() if value}
    yield f"rq:jk:steps:{job_id}", job.steps
    yield f"rq:results:{job_id}", job.results and (min(len(job.results), _ENTRIES), *job.results[-1])


def iso(ms: int) -> str:
    """A time as RQ writes it."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}000Z"
