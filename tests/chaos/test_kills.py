"""A worker process killed at every command of a job's life, before it arrives or before its reply does."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobkit import JobKit
from jobkit.soak.audit import Audit
from jobkit.soak.effects import Effects
from jobkit.store.operations import attempts, read
from jobkit.store.sweeps import SUSPECT_BUDGET, Sweeps
from tests.chaos import victims
from tests.chaos.life import LONGEST, POINTS, kit_of, payloads
from tests.chaos.proxy import AtCall, Proxy

KILLS = [(name, nth, on_reply) for (name, nth), on_reply in itertools.product(POINTS[1:], (False, True))]
ENDS = 20.0
"""Seconds within which every job has ended; a lease is one, and the machine may be busy."""


def test_kill(store_url: str, proxied: Callable[..., Proxy], tmp_path: Path) -> None:
    """A worker killed at any command loses no job: another takes it up where it was, within its lease and a sweep."""
    lives, killed = [], []
    for name, nth, on_reply in KILLS:
        queue = f"{name.replace('_', '-')}-{nth}-{'reply' if on_reply else 'call'}"
        proxy = proxied(store_url)
        victim = victims.start(proxy.url, queue, tmp_path, lingers=name == "renew")
        proxy.rule = AtCall(name, job_of(queue), nth=nth, on_reply=on_reply, do=victim.kill)
        life = victims.life_of(queue, tmp_path)
        with kit_of(store_url, life) as kit:
            kit.enqueue(payloads(queue)[0](), job_id=job_of(queue))
        lives.append(life)
        killed.append(victim)
    for victim in killed:
        victim.join(ENDS)
        assert victim.exitcode == -signal.SIGKILL
        victim.close()

    with kit_of(store_url, *lives) as kit:
        worker = kit.worker()
        worker.start()
        try:
            for life in lives:
                assert kit.handle(job_of(life.queue)).result(ENDS)
                kit.handle(f"{job_of(life.queue)}-after").result(LONGEST)
        finally:
            worker.stop()
            assert worker.join(ENDS)
        for life in lives:
            job_id = job_of(life.queue)
            entries = [entry for _, entry in kit.store.run(attempts(kit.store.keys, job_id))]
            assert [entry.kind for entry in entries] == [4, 1], job_id
            assert kit.handle(job_id).status().attempt == 2, job_id
            effects = Effects.read(tmp_path / life.queue).ends
            # What was done and not yet recorded is done again, and nothing else is.
            twice = life.queue == "advance-1-call"
            assert len(effects[job_id]) == (2 if twice else 1), job_id
            assert len(effects[f"{job_id}-after"]) == 1, job_id
            assert Audit(kit.store, life.queue).leaks([worker.name]) == []


def job_of(queue: str) -> str:
    """The id of a queue's job."""
    return f"{queue}-job"


def test_poison(store_url: str) -> None:
    """A job that kills its workers ends in the dead letters after the fourth, and costs its 49 neighbours nothing."""
    with victims.fatal_kit(store_url) as kit:
        poison = kit.enqueue(victims.Fatal())
        neighbours = kit.enqueue_many([victims.Neighbour() for _ in range(victims.SLOTS - 1)])
        died, verdicts = [], []
        for _ in range(SUSPECT_BUDGET + 1):
            victim = victims.start_fatal(store_url)
            victim.join(ENDS)
            assert victim.exitcode == -signal.SIGKILL
            died.append(victim.pid)
            victim.close()
            verdicts.append(rescued(kit, "fatal"))
        assert verdicts[0] == (victims.SLOTS, 0)  # all were in hand
        assert [poisoned for _, poisoned in verdicts] == [0, 0, 0, 1]

        last = victims.start_fatal(store_url)
        for each in neighbours:
            each.result(ENDS)
        last.terminate()
        last.join(ENDS)
        assert last.exitcode == 0
        last.close()

        verdict = poison.status()
        assert verdict.state == "failed"
        assert (verdict.error or "").startswith("poison")
        what, workers = (verdict.reason or "").split(": ")
        assert what == "the workers that died with it"
        assert [int(each.split("-")[-2]) for each in workers.split(", ")] == died
        for each in neighbours:
            found = kit.store.run(read(kit.store.keys, each.id))
            assert found is not None
            job, _ = found
            # The first death makes all that it met suspects; of the deaths that count after it, none is theirs.
            assert (job.state, job.failed, job.rescues) == ("finished", 0, 1)
            assert [entry.kind for _, entry in kit.store.run(attempts(kit.store.keys, each.id))] == [1]


def rescued(kit: JobKit, queue: str) -> tuple[int, int]:
    """Let the leases of a queue run out and have its jobs rescued: how many live on, and how many were poison."""
    redis: Any = kit.store.client
    lease = kit.store.keys.lease(queue)
    for member in redis.zrange(lease, 0, -1):
        redis.zadd(lease, {member: 1})
    return Sweeps(kit.store).rescue(queue, keep_dead=100)[:2]
