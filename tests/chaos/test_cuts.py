"""The connection cut at every command of a job's life, before it arrives or before its reply does, once and twice."""

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from jobkit import Job, JobKit
from jobkit.errors import JobCancelled, StoreUnavailable
from jobkit.soak.audit import Audit
from jobkit.soak.effects import Effects
from jobkit.store.operations import attempts
from tests.chaos import victims
from tests.chaos.life import EXEMPT, LONGEST, POINTS, Life, Point, kit_of, payloads, prepare, suspect
from tests.chaos.proxy import Act, AtCall, Call, Proxy

QUEUE = "life"


def enqueued(kit: JobKit, job_id: str) -> Any:
    """Enqueue as a caller does who gets no answer: again, with the same id."""
    live, *_ = payloads(QUEUE)
    for _ in range(3):
        try:
            return kit.enqueue(live(), job_id=job_id)
        except StoreUnavailable:
            continue
    raise AssertionError(job_id)


def kinds(kit: JobKit, job_id: str) -> list[int]:
    """The kinds of a job's result entries: 1 finished, 3 closed, 4 failed and to be tried again."""
    return [entry.kind for _, entry in kit.store.run(attempts(kit.store.keys, job_id))]


def test_every_script_is_a_point() -> None:
    """Each script is swept by the cuts and kills of these tests, or is exempt for a reason."""
    folder = resources.files("jobkit.store") / "scripts"
    scripts = {each.name.removesuffix(".lua") for each in folder.iterdir() if each.name.endswith(".lua")}
    swept = {point.name for point in POINTS} & scripts
    assert scripts - swept - EXEMPT.keys() == set(), "add a point to the life in tests/chaos/life.py that reaches it"
    assert EXEMPT.keys() - scripts == set()
    assert EXEMPT.keys() & swept == set()


@pytest.mark.parametrize("point", [each for each in POINTS if each.name != "put_back"], ids=str)
def test_cut(store_url: str, proxied: Callable[..., Proxy], point: Point) -> None:
    """A connection that breaks at this command costs no job, no second finish, no second effect and no leak."""
    prepare(store_url)
    proxy = proxied(store_url)
    effects: Counter[tuple[str, str]] = Counter()
    renewed = threading.Event()

    def note(what: str, job: Job[Any]) -> None:
        effects[what, job.id] += 1

    def falter(job: Job[Any]) -> None:
        if point.name == "try_out":
            suspect(direct, job.id)

    def linger(job: Job[Any]) -> None:
        if point.name == "renew":
            assert renewed.wait(LONGEST)

    life = Life(QUEUE, note, falter, linger)
    with kit_of(store_url, life) as direct, kit_of(proxy.url, life) as cut_off:
        worker = cut_off.worker()
        worker.start()
        try:
            for on_reply, times in itertools.product((False, True), (1, 2)):
                job_id = f"{QUEUE}-{'reply' if on_reply else 'call'}-{times}"
                renewed.clear()
                rule = AtCall(point.name, job_id + point.of, nth=point.nth, on_reply=on_reply, times=times)
                proxy.rule = told_of_renewal(rule, job_id, renewed)
                handle = enqueued(cut_off, job_id)
                wait_for_all(direct, handle.id)
                assert rule.spent.wait(LONGEST), job_id
                *failed, last = kinds(direct, job_id)
                assert last == 1, job_id
                # A step or a progress that cannot be kept fails its attempt, as any error of a processor does.
                spare = times == 2 and point.name in {"hgetall", "save_step", "progress"}
                assert failed == [4] or (spare and failed == [4, 4]), (job_id, failed)
                assert kinds(direct, f"{job_id}-closed") == [3]
                for each in (job_id, f"{job_id}-after", f"{job_id}-closed"):
                    assert effects["effect", each] == 1, each
                assert effects["step", job_id] == 1 or spare, job_id
        finally:
            worker.stop()
            assert worker.join(2 * LONGEST)
        assert Audit(direct.store, QUEUE).leaks([worker.name]) == []
        assert Audit(direct.store, QUEUE).unfinished() == 0


def test_cut_of_a_lane(store_url: str, proxied: Callable[..., Proxy]) -> None:
    """As at any other command, where the finish is recorded on the event loop; the second cut is the finisher's."""
    prepare(store_url)
    proxy = proxied(store_url)
    effects: Counter[str] = Counter()
    cut: list[Call] = []
    life = Life(QUEUE, lambda _, job: effects.update([job.id]))
    with kit_of(store_url, life, on_the_loop=True) as direct, kit_of(proxy.url, life, on_the_loop=True) as cut_off:
        worker = cut_off.worker()
        worker.start()
        try:
            for on_reply, times, end in itertools.product((False, True), (1, 2), ("", "-after")):
                job_id = f"{QUEUE}-{'reply' if on_reply else 'call'}-{times}{end or '-live'}"
                wait_for_lanes(worker)
                rule = AtCall("advance", job_id + end, nth=1, on_reply=on_reply, times=times)
                proxy.rule = noting_cuts(rule, cut)
                enqueued(cut_off, job_id)
                for each in (job_id, f"{job_id}-after"):
                    direct.handle(each).result(LONGEST)
                    assert effects[each] == 1, each
                assert rule.spent.wait(LONGEST), job_id
                assert kinds(direct, job_id) == [4, 1]
                assert kinds(direct, f"{job_id}-after") in ([], [1])  # one who waited in time finds an entry
        finally:
            worker.stop()
            assert worker.join(2 * LONGEST)
        assert sum(call.of_a_lane for call in cut) >= len(cut) / 2
        assert Audit(direct.store, QUEUE).leaks([worker.name]) == []
        assert Audit(direct.store, QUEUE).unfinished() == 0


@pytest.mark.parametrize("on_reply", [False, True], ids=["call", "reply"])
def test_cut_of_put_back(store_url: str, proxied: Callable[..., Proxy], tmp_path: Path, *, on_reply: bool) -> None:
    """A worker that ends and cannot say what it puts back, which it says once, costs no job and no attempt."""
    prepare(store_url)
    proxy, job_id = proxied(store_url), f"{QUEUE}-job"
    proxy.rule = rule = AtCall("put_back", job_id, nth=1, on_reply=on_reply)
    victim = victims.start(proxy.url, QUEUE, tmp_path, "put_back")
    with kit_of(store_url, victims.life_of(QUEUE, tmp_path)) as kit:
        enqueued(kit, job_id)
        victim.join(2 * LONGEST)
        assert (victim.exitcode, rule.cuts) == (0, 1)
        victim.close()
        with kit.running():
            wait_for_all(kit, job_id)
        assert kinds(kit, job_id) == [4, 1]
        effects = Effects.read(tmp_path / QUEUE).ends
        assert {name: len(each) for name, each in effects.items()} == dict.fromkeys(
            (job_id, f"{job_id}-after", f"{job_id}-closed"), 1
        )
        assert Audit(kit.store, QUEUE).leaks([]) == []


def wait_for_all(kit: JobKit, job_id: str) -> None:
    """Wait for the end of a life: of the job, of what it enqueued, and of what that did."""
    assert kit.handle(job_id).result(LONGEST)
    kit.handle(f"{job_id}-after").result(LONGEST)
    with pytest.raises(JobCancelled):
        kit.handle(f"{job_id}-closed").result(LONGEST)


def told_of_renewal(rule: Callable[[Call], Act], job_id: str, renewed: threading.Event) -> Callable[[Call], Act]:
    """The rule, and the event set once the job's lease was renewed with success."""

    def told(call: Call) -> Act:
        act = rule(call)
        if act is Act.GO and call.name == "renew" and call.reply is not None and call.mentions(job_id):
            renewed.set()
        return act

    return told


def noting_cuts(rule: Callable[[Call], Act], cut: list[Call]) -> Callable[[Call], Act]:
    """The rule, and a list of what it cuts."""

    def noted(call: Call) -> Act:
        act = rule(call)
        if act is Act.CUT:
            cut.append(call)
        return act

    return noted


def wait_for_lanes(worker: Any) -> None:
    """Wait until a worker's lanes are open."""

    async def opened() -> None:
        lanes = worker._lanes
        while len(lanes._lanes) < 2:
            lanes._timer.cancel()
            lanes._look()  # at once, and not in its turn
            await asyncio.gather(lanes._task, asyncio.sleep(0))  # reason: one turn of the loop

    worker._loop.call(opened())
