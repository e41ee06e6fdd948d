"""A worker process killed at every command of a job's life, before it arrives or before its reply does."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobkit import JobKit
from jobkit.errors import JobCancelled
from jobkit.soak.audit import Audit
from jobkit.soak.effects import Effects
from jobkit.store.operations import attempts, read
from jobkit.store.records import ResultEntry
from jobkit.store.sweeps import SUSPECT_BUDGET, Sweeps
from tests.chaos import victims
from tests.chaos.life import LONGEST, POINTS, Life, Point, kit_of, payloads, prepare
from tests.chaos.proxy import AtCall, Proxy

KILLS = list(itertools.product(POINTS[1:], (False, True)))
HELD_NOTHING = {"claim", "fail", "snooze", "put_back", "advance", "end"}
"""Commands before (a claim) or after which the job is in nobody's hands."""
ENDS = 20.0
"""Seconds within which every job has ended; a lease is one, and the machine may be busy."""


def test_kill(store_url: str, proxied: Callable[..., Proxy], tmp_path: Path) -> None:
    """A worker killed at any command loses no job: another takes it up where it was, within its lease and a sweep."""
    prepare(store_url)
    lives: list[tuple[Life, Point, bool]] = []
    killed = []
    for point, on_reply in KILLS:
        queue = f"{point}-{'reply' if on_reply else 'call'}".replace("_", "-")
        proxy = proxied(store_url)
        victim = victims.start(proxy.url, queue, tmp_path, point.name)
        proxy.rule = AtCall(point.name, job_of(queue) + point.of, nth=point.nth, on_reply=on_reply, do=victim.kill)
        life = victims.life_of(queue, tmp_path)
        with kit_of(store_url, life) as kit:
            kit.enqueue(payloads(queue)[0](), job_id=job_of(queue))
        lives.append((life, point, on_reply))
        killed.append(victim)
    for victim in killed:
        victim.join(ENDS)
        assert victim.exitcode == -signal.SIGKILL
        victim.close()

    with kit_of(store_url, *(life for life, *_ in lives)) as kit:
        worker = kit.worker()
        worker.start()
        try:
            for life, *_ in lives:
                job_id = job_of(life.queue)
                assert kit.handle(job_id).result(ENDS)
                kit.handle(f"{job_id}-after").result(LONGEST)
                with pytest.raises(JobCancelled):
                    kit.handle(f"{job_id}-closed").result(LONGEST)
        finally:
            worker.stop()
            assert worker.join(ENDS)
        for life, point, on_reply in lives:
            job_id = job_of(life.queue)
            assert [each.kind for each in entries(kit, job_id)] == [4, 1], job_id
            assert [each.kind for each in entries(kit, f"{job_id}-closed")] == [3], job_id
            assert kit.handle(job_id).status().attempt == 2, job_id
            assert rescues(kit, job_id + point.of) in expected_rescues(point, on_reply=on_reply), job_id
            effects = Effects.read(tmp_path / life.queue).ends
            # What was done and not yet recorded is done again, and nothing else is.
            again = {"advance-1-call": job_id, "end-1-call": f"{job_id}-closed"}.get(life.queue)
            for each in (job_id, f"{job_id}-after", f"{job_id}-closed"):
                assert len(effects[each]) == (2 if each == again else 1), each
            assert Audit(kit.store, life.queue).leaks([worker.name]) == []


def expected_rescues(point: Point, *, on_reply: bool) -> set[int]:
    """The interruptions that a job may have on its record: none where the victim had nothing in hand, else one."""
    if point.name == "try_out":  # a suspect has one from before, and pays for this death if it was said that it begins
        return {2} if on_reply else {1}
    if point.name == "renew":  # the first that names the job may come when an attempt has just ended
        return {0, 1}
    if point.name == "claim" and not on_reply:  # a worker claims for its other slots while the job runs
        return {0} if point.nth == 1 else {0, 1}
    return {0} if point.name in HELD_NOTHING and on_reply != (point.name == "claim") else {1}


def entries(kit: JobKit, job_id: str) -> list[ResultEntry]:
    """A job's result entries."""
    return [entry for _, entry in kit.store.run(attempts(kit.store.keys, job_id))]


def rescues(kit: JobKit, job_id: str) -> int:
    """The interruptions on a job's record."""
    found = kit.store.run(read(kit.store.keys, job_id))
    assert found is not None
    return found[0].rescues


def job_of(queue: str) -> str:
    """The id of a queue's job."""
    return f"{queue}-job"


def test_poison(store_url: str) -> None:
    """A job that kills its workers ends in the dead letters after the fourth, and costs its 49 neighbours nothing."""
    prepare(store_url)
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
        last.terminate()  # the fourth may have left it nothing to do, so it need not be at work yet
        last.join(ENDS)
        assert last.exitcode in {0, -signal.SIGTERM}
        last.close()

        verdict = poison.status()
        assert verdict.state == "failed"
        assert (verdict.error or "").startswith("poison")
        what, workers = (verdict.reason or "").split(": ")
        assert what == "the workers that died with it"
        assert [int(each.split("-")[-2]) for each in workers.split(", ")] == died
        for each in neighbours:
            status = each.status()
            assert (status.state, status.attempt) == ("finished", 1)
            assert [entry.kind for entry in entries(kit, each.id)] == [1]
            # The first death makes all that it met suspects; of the deaths that count from then on, none is theirs.
            assert rescues(kit, each.id) == 1


def rescued(kit: JobKit, queue: str) -> tuple[int, int]:
    """Let the leases of a queue run out and have its jobs rescued: how many live on, and how many were poison."""
    redis: Any = kit.store.client
    lease = kit.store.keys.lease(queue)
    for member in redis.zrange(lease, 0, -1):
        redis.zadd(lease, {member: 1})
    return Sweeps(kit.store).rescue(queue, keep_dead=100)[:2]
