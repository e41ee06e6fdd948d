"""The connection cut at every command of a job's life, before it arrives or before its reply does, once and twice."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from jobkit import Job, JobKit
from jobkit.errors import StoreUnavailable
from jobkit.soak.audit import Audit
from jobkit.store.operations import attempts
from tests.chaos.life import LONGEST, POINTS, Life, kit_of, payloads
from tests.chaos.proxy import Act, AtCall, Call, Proxy

QUEUE = "life"


def enqueued(kit: JobKit, job_id: str) -> Any:
    """Enqueue as a caller does who gets no answer: again, with the same id."""
    live, _ = payloads(QUEUE)
    for _ in range(3):
        try:
            return kit.enqueue(live(), job_id=job_id)
        except StoreUnavailable:
            continue
    raise AssertionError(job_id)


def kinds(kit: JobKit, job_id: str) -> list[int]:
    """The kinds of a job's result entries: 1 finished, 4 failed and to be tried again."""
    return [entry.kind for _, entry in kit.store.run(attempts(kit.store.keys, job_id))]


@pytest.mark.parametrize(("name", "nth"), POINTS, ids=str)
def test_cut(store_url: str, proxied: Callable[..., Proxy], name: str, nth: int) -> None:
    """A connection that breaks at this command costs no job, no second finish, no second effect and no leak."""
    proxy = proxied(store_url)
    effects: Counter[tuple[str, str]] = Counter()
    renewed = threading.Event()

    def note(what: str, job: Job[Any]) -> None:
        effects[what, job.id] += 1

    def linger(job: Job[Any]) -> None:
        if name == "renew":
            assert renewed.wait(LONGEST)

    life = Life(QUEUE, note, linger)
    with kit_of(store_url, life) as direct, kit_of(proxy.url, life) as cut_off:
        worker = cut_off.worker()
        worker.start()
        try:
            for on_reply, times in itertools.product((False, True), (1, 2)):
                job_id = f"{QUEUE}-{'reply' if on_reply else 'call'}-{times}"
                renewed.clear()
                rule = AtCall(name, job_id, nth=nth, on_reply=on_reply, times=times)
                proxy.rule = told_of_renewal(rule, job_id, renewed)
                handle = enqueued(cut_off, job_id)
                assert direct.handle(handle.id).result(LONGEST)
                direct.handle(f"{job_id}-after").result(LONGEST)
                assert rule.cuts == times, job_id
                *failed, last = kinds(direct, job_id)
                assert last == 1, job_id
                # A step or a progress that cannot be kept fails its attempt, as any error of a processor does.
                spare = times == 2 and name in {"hgetall", "save_step", "progress"}
                assert failed == [4] or (spare and failed == [4, 4]), (job_id, failed)
                assert effects["effect", job_id] == 1
                assert effects["effect", f"{job_id}-after"] == 1
                assert effects["step", job_id] == 1 or spare, job_id
        finally:
            worker.stop()
            assert worker.join(2 * LONGEST)
        assert Audit(direct.store, QUEUE).leaks([worker.name]) == []
        assert Audit(direct.store, QUEUE).unfinished() == 0


def told_of_renewal(rule: Callable[[Call], Act], job_id: str, renewed: threading.Event) -> Callable[[Call], Act]:
    """The rule, and the event set once the job's lease was renewed with success."""

    def told(call: Call) -> Act:
        act = rule(call)
        if act is Act.GO and call.name == "renew" and call.reply is not None and call.mentions(job_id):
            renewed.set()
        return act

    return told
