"""A master behind Sentinels: it dies, hangs, steps down or loses its replica; clients and workers follow."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from rq.cli.helpers import get_redis_from_config
from rq.command import send_shutdown_command
from rq.job import Job as RqJob

from jobkit import JobKit, QueueSpec, Settings, StoreUnavailable
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.processing import Processor, processor
from jobkit.store import Store
from jobkit.store.operations import origin
from tests.outage.servers import PASSWORD, PATIENCE, SENTINEL_PASSWORD, SERVICE, Watched, eventually
from tests.worker.conftest import Bench, Gate


class Run(Payload[int], name="run", queue="q"):
    n: int = 0


def counting(gate: Gate, runs: list[int], held: int) -> Processor[Any, ..., Any]:
    """A processor that notes each run; the first `held` numbers wait at the gate."""

    @processor(Run)
    def run(job: Job[Run]) -> int:
        runs.append(job.payload.n)
        if job.payload.n < held:
            gate.enter()
        return job.payload.n

    return run


def test_master_killed(bench: Callable[..., Bench], watched: Watched, gate: Gate) -> None:
    """The master is killed under work: jobs in hand are recorded on its successor, waiting and later ones run, once."""
    b = bench(watched.url(), QueueSpec("q", concurrency=2))
    runs: list[int] = []
    b.started(counting(gate, runs, held=2))
    handles = [b.enqueue(Run(n=n)) for n in range(2)]
    for _ in handles:
        gate.wait_entered()
    handles += [b.enqueue(Run(n=n)) for n in range(2, 7)]
    watched.await_replica()
    watched.master.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="enqueue: no usable answer from Redis"):
        b.enqueue(Run(n=99))
    assert time.monotonic() - began < 4
    gate.open()
    b.lines.wait_for("cannot record how jobs ended; keeping it and trying again")
    watched.sentinel.wait_for(f"+switch-master {SERVICE} ")
    b.lines.wait_for("recording again")
    handles.append(b.enqueue(Run(n=7)))
    assert [each.result(PATIENCE) for each in handles] == list(range(8))
    assert sorted(runs) == list(range(8))


def test_master_frozen(bench: Callable[..., Bench], watched: Watched, gate: Gate) -> None:
    """A master that hangs with its connections open is left for its successor when its answers are overdue."""
    b = bench(watched.url(), QueueSpec("q", concurrency=2))
    runs: list[int] = []
    b.started(counting(gate, runs, held=1))
    held, later = b.enqueue(Run(n=0)), b.enqueue(Run(n=5), delay=1.0)
    gate.wait_entered()
    watched.await_replica()
    watched.master.freeze()
    watched.sentinel.wait_for(f"+switch-master {SERVICE} ")
    gate.open()
    with Store.open(watched.url()).client as on_new:
        eventually(lambda: bool(on_new.exists(f"rq:results:{held.id}")))
    assert held.result(PATIENCE) == 0
    assert later.result(PATIENCE) == 5
    assert sorted(runs) == [0, 5]


def test_master_steps_down(watched: Watched, gate: Gate) -> None:
    """A planned failover cuts nobody's wait short: calls, waiters on event loops, RQ's commands find the new master."""
    runs: list[int] = []
    kit = JobKit(
        Settings(redis_url=watched.url()),
        queues=[QueueSpec("q", concurrency=4)],
        processors=[counting(gate, runs, held=1)],
    )
    worker = kit.worker()

    def step_down() -> None:
        watched.await_replica()
        with watched.to_sentinel() as asked:
            asked.execute_command("SENTINEL", "FAILOVER", SERVICE)
        watched.sentinel.wait_for(f"+switch-master {SERVICE} ")
        watched.master.wait_for("Before turning into a replica")

    def shut_down() -> None:
        with watched.to(1) as new:
            eventually(lambda: new.pubsub_numsub(f"rq:pubsub:{worker.name}")[0][1] == 1)
            send_shutdown_command(new, worker.name)
        assert worker.join(PATIENCE)
        assert not worker.failed

    async def main() -> None:
        async with kit:
            await asyncio.to_thread(worker.start)
            try:
                handle = await kit.aenqueue(Run(n=0))
                result = asyncio.create_task(handle.aresult(timeout=PATIENCE))
                await asyncio.to_thread(gate.wait_entered)
                await handle.astatus()
                await asyncio.to_thread(step_down)
                gate.open()
                assert await result == 0
                assert await (await kit.aenqueue(Run(n=3))).aresult(timeout=PATIENCE) == 3
                await asyncio.to_thread(shut_down)
            finally:
                worker.stop(now=True)
                assert worker.join(PATIENCE)

    asyncio.run(main())
    assert sorted(runs) == [0, 3]


def test_master_without_its_replica(bench: Callable[..., Bench], watched: Watched, gate: Gate) -> None:
    """With min-replicas-to-write a master whose replica is away acknowledges nothing, and what ends then is kept."""
    b = bench(watched.url())
    runs: list[int] = []
    b.started(counting(gate, runs, held=1))
    held = b.enqueue(Run(n=0))
    gate.wait_entered()
    with watched.to(0) as master:
        master.config_set("min-replicas-to-write", 1)
        watched.replica.kill()
        eventually(lambda: master.info("replication")["connected_slaves"] == 0)
        with pytest.raises(StoreUnavailable, match="min-replicas-to-write"):
            b.enqueue(Run(n=1), job_id="one")
        gate.open()
        b.lines.wait_for("cannot record how jobs ended; keeping it and trying again")
        watched.replica.start()
        b.lines.wait_for("recording again")
        assert held.result(PATIENCE) == 0
        assert b.enqueue(Run(n=1), job_id="one").result(PATIENCE) == 1
    assert sorted(runs) == [0, 1]


def outcome(url: str) -> tuple[str, str]:
    """What a blocking call and one on an event loop say to this URL."""
    store = Store.open(url)

    async def on_a_loop() -> None:
        try:
            await store.arun(origin(store.keys, "j"))
        finally:
            await store.aclose()

    with pytest.raises(StoreUnavailable) as blocking:
        store.check()
    with pytest.raises(StoreUnavailable) as looping:
        asyncio.run(on_a_loop())
    store.close()
    return str(blocking.value), str(looping.value)


def test_errors(watched: Watched) -> None:
    """A wrong name, a wrong password, and a server that is no Sentinel are told, by each Sentinel of the URL."""
    for told in outcome(watched.url("jbos")):
        assert "watches no master of the name 'jbos'" in told
        assert "gave no answer (ConnectionError: " in told  # the first of the URL, which is away
    for told in outcome(watched.url(sentinel_password="wrong")):  # noqa: S106 - it is wrong
        assert "gave no answer (AuthenticationError: " in told
    lone = f"redis+sentinel://127.0.0.1:{watched.ports[0]}/jobs?sentinel_password=of%2Fthe%40master"
    for told in outcome(lone):
        assert "is no Sentinel" in told
        assert PASSWORD not in told


def test_rq_tools(watched: Watched) -> None:
    """RQ's tools reach the same jobs with the settings that the page on outages shows."""
    settings = {
        "INSTANCES": [("127.0.0.1", watched.ports[2])],
        "MASTER_NAME": SERVICE,
        "DB": 0,
        "PASSWORD": PASSWORD,
        "SENTINEL_KWARGS": {"password": SENTINEL_PASSWORD},
    }
    with JobKit(Settings(redis_url=watched.url()), queues=[QueueSpec("q")]) as kit:
        handle = kit.enqueue(Run(n=1))
    client = get_redis_from_config({"SENTINEL": settings})
    assert RqJob.fetch(handle.id, connection=client, serializer="json").origin == "q"
    client.close()


def test_many_threads_ask(watched: Watched) -> None:
    """Threads that connect at once all find the master, and no Sentinel is forgotten."""
    store = Store.open(watched.url())
    found: list[object] = []

    def connect() -> None:
        connection = store.make_connection()
        connection.connect()
        found.append(connection.port)
        connection.disconnect()

    threads = [threading.Thread(target=connect) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    store.close()
    assert found == [watched.ports[0]] * 20
