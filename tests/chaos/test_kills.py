"""A worker process killed at every command of a job's life, before it arrives or before its reply does."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

from jobkit.soak.audit import Audit
from jobkit.soak.effects import Effects
from jobkit.store.operations import attempts
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
    """A job that kills its workers ends in the dead letters after the fourth, and costs its neighbours nothing."""
    with victims.fatal_kit(store_url) as kit:
        poison = kit.enqueue(victims.Fatal())
        neighbours = kit.enqueue_many([victims.Neighbour() for _ in range(20)])
        deaths = 0
        while poison.status().state != "failed":
            victim = victims.start_fatal(store_url)
            while victim.is_alive() and poison.status().state != "failed":
                victim.join(0.05)  # the end of the process, or of the job, whichever comes first
            deaths += victim.exitcode == -signal.SIGKILL
            if victim.is_alive():
                for each in neighbours:
                    each.result(ENDS)
                victim.terminate()
            victim.join(ENDS)
            victim.close()
        assert deaths == 4
        assert (poison.status().error or "").startswith("poison")
        assert {each.status().state for each in neighbours} == {"finished"}
        assert {each.status().attempt for each in neighbours} == {1}
