"""Workers killed at random, and servers that die, stand still, are slow or full, with jobs in hand."""

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobkit import Job, JobKit, Payload, QueueSpec, Settings, draft, processor
from jobkit.errors import ConfigurationError, StoreFull
from jobkit.soak import Plan, soak
from jobkit.soak.audit import Audit
from jobkit.soak.server import OwnServer
from jobkit.store.operations import attempts
from tests.chaos.life import LONGEST
from tests.chaos.proxy import Act, Call, Proxy

QUEUE = "storm"
ENDS = 20.0
"""Seconds that a drain may take on a busy machine."""


class Count(Payload[int], name="storm.count", queue=QUEUE):
    n: int


class ACount(Payload[int], name="storm.acount", queue=QUEUE):
    n: int


class Big(Payload, name="storm.big", queue=QUEUE):
    text: str


def kit_of(url: str, *processors: Any, lease: float = 3.0) -> JobKit:
    """A kit of one queue."""
    return JobKit(
        Settings(redis_url=url, lease=lease), queues=[QueueSpec(QUEUE, concurrency=10)], processors=list(processors)
    )


def drain(url: str, worker_url: str, jobs: int) -> Counter[int]:
    """Run so many jobs by a worker at another door, half of them on its event loop; the effects of each."""
    effects: Counter[int] = Counter()

    @processor(Count)
    def count(job: Job[Count]) -> int:
        effects[job.payload.n] += 1
        return job.payload.n

    @processor(ACount)
    async def acount(job: Job[ACount]) -> int:
        effects[job.payload.n] += 1
        return job.payload.n

    with kit_of(url) as direct, kit_of(worker_url, count, acount) as kit:
        handles = direct.enqueue_many(
            [draft((ACount if n % 2 else Count)(n=n), job_id=f"{QUEUE}-{n}") for n in range(jobs)]
        )
        worker = kit.worker()
        worker.start()
        try:
            assert [handle.result(ENDS) for handle in handles] == list(range(jobs))
        finally:
            worker.stop()
            assert worker.join(ENDS)
        for handle in handles:
            assert [entry.kind for _, entry in direct.store.run(attempts(direct.store.keys, handle.id))] == [1]
        assert Audit(direct.store, QUEUE).leaks([worker.name]) == []
    return effects


def test_storm_of_kills() -> None:
    """The command's account holds after a storm: nothing lost, nothing twice but what was in hand, nothing left."""
    words = "soak --minutes 0.04 --jobs 300 --workers 3 --kill-every 0.2 --lease 1 --job-seconds 0.03 --seed 3 --json"
    done = subprocess.run(
        [sys.executable, "-m", "jobkit", *words.split()], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads(done.stdout)
    assert account["holds"]
    assert account["enqueued"] == 300
    assert account["finished"] == account["expected"] == 330
    assert account["lost"] == account["dead_letters"] == account["wrongly_owned"] == account["leaked"] == []
    assert account["run_twice"] <= account["in_flight"]
    assert account["kills"] >= 8


def test_server_dies_and_stands_still() -> None:
    """A server that stops for longer than a lease, then dies and comes back with its file, costs no job."""
    plan = Plan(seconds=3.9, jobs=300, workers=2, kill_every=9.0, lease=1.0, freeze=1.3, away=0.5, seed=3)
    account = soak(plan)
    assert account.holds, account
    assert account.finished == account.expected == 330
    assert account.longest_outage > 1.3


def test_replies_dropped(store_url: str, proxied: Callable[..., Proxy]) -> None:
    """Of a worker's commands one in thirty does not arrive and one in thirty gets no reply; each job runs once."""
    chance = random.Random(20)  # noqa: S311 - which reply is dropped is no secret

    def rule(call: Call) -> Act:
        return Act.CUT if chance.random() < 1 / 30 else Act.GO

    proxy = proxied(store_url)
    proxy.rule = rule
    effects = drain(store_url, proxy.url, 300)
    assert set(effects.values()) == {1}
    assert len(effects) == 300


def test_latency(store_url: str, proxied: Callable[..., Proxy]) -> None:
    """50 ms on each reply slow the jobs down and do nothing else."""
    effects = drain(store_url, proxied(store_url, latency=0.05).url, 100)
    assert set(effects.values()) == {1}
    assert len(effects) == 100


def test_suspects_are_soon_through(store_url: str) -> None:
    """The short jobs of a worker that died pass one at a time and yet within moments, not a second each."""
    running, most = Counter[str](), 0

    @processor(Count)
    def count(job: Job[Count]) -> int:
        nonlocal most
        running["now"] += 1
        most = max(most, running["now"])
        running["now"] -= 1
        return job.payload.n

    with kit_of(store_url, count) as kit:
        handles = kit.enqueue_many([Count(n=n) for n in range(10)])
        redis: Any = kit.store.client
        for handle in handles:
            redis.hset(f"rq:job:{handle.id}", mapping={"jk_rescues": 1, "jk_epoch": 1})
        with kit.running():
            assert [handle.result(LONGEST) for handle in handles] == list(range(10))
    assert most == 1


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """Give a server that nobody else uses."""
    with OwnServer() as server:
        yield server


def test_full_server(own_server: OwnServer) -> None:
    """A server at its maxmemory refuses an enqueue with the reason, and records the jobs that run, follow-ups aside."""
    entered, may_end = threading.Semaphore(0), threading.Event()

    @processor(Count)
    def count(job: Job[Count]) -> int:
        entered.release()
        assert may_end.wait(LONGEST)
        job.progress(90, "nearly")
        job.step("last", str, "kept")
        return job.payload.n

    with kit_of(own_server.url, count) as kit, kit.running():
        handles = kit.enqueue_many([Count(n=n) for n in range(5)])
        for _ in handles:
            assert entered.acquire(timeout=LONGEST)
        call: Any = kit.store.client.execute_command
        call("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreFull, match="maxmemory"):
            kit.enqueue(Big(text="x"))
        may_end.set()
        assert [handle.result(LONGEST) for handle in handles] == list(range(5))
        call("CONFIG", "SET", "maxmemory", 0)
        assert kit.enqueue(Count(n=6)).result(LONGEST) == 6


def test_foreign_data_is_refused(own_server: OwnServer) -> None:
    """A soak does not begin on a database that holds anything, and leaves one empty that it was allowed on."""
    with kit_of(own_server.url) as kit:
        kit.store.client.set("theirs", "1")
        with pytest.raises(ConfigurationError, match="expected an empty database, got one with 1 keys"):
            soak(Plan(seconds=1, jobs=5, redis_url=own_server.url))
        plan = Plan(seconds=0.5, jobs=5, workers=1, kill_every=9.0, redis_url=own_server.url, foreign_data=True)
        assert soak(plan).holds
        assert [key for key in kit.store.client.keys("*") if b"soak" in key] == []
        assert kit.store.client.get("theirs") == b"1"


def test_no_outage_of_a_given_server() -> None:
    """Only a server that the soak has started itself is ever stopped."""
    with pytest.raises(ConfigurationError, match="Leave the URL out"):
        Plan(redis_url="redis://localhost:6379", away=1.0)
