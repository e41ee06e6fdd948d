"""A server that takes connections and refuses writes: its disk is broken, or its memory full."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from jobkit.errors import StoreFull, StoreUnavailable
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.policies import Fixed, Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from tests.outage.servers import PATIENCE, Server, eventually, lone_server
from tests.worker.conftest import Bench, Gate


class Run(Payload[int], name="run", queue="q"):
    n: int = 0


@pytest.fixture
def saving(folder: Path) -> Server:
    """Give a server, not yet started, that takes no writes once it could not save."""
    return Server(folder, f"port 0\nunixsocket {folder}/s\nsave 3600 1000000\nappendonly no\n")


def save(client: redis.Redis) -> str:
    """Let the server save; how that went."""
    client.bgsave()
    eventually(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
    return str(client.info("persistence")["rdb_last_bgsave_status"])


def test_broken_disk(bench: Callable[..., Bench], saving: Server, gate: Gate) -> None:
    """A server that cannot save refuses all writes: enqueue says so, ends of jobs are kept and recorded later."""
    saving.start()
    b = bench(f"unix://{saving.folder}/s", QueueSpec("q", retry=Retry(attempts=2, backoff=Fixed(0.01))))
    runs: list[tuple[int, int]] = []

    @processor(Run)
    def run(job: Job[Run]) -> int:
        runs.append((job.payload.n, job.attempt))
        if job.attempt == 1:
            gate.enter()
        if job.payload.n == 1 and job.attempt == 1:
            raise ValueError("once")
        return job.payload.n

    b.started(run)
    handles = [b.enqueue(Run(n=0)), b.enqueue(Run(n=1))]
    for _ in handles:
        gate.wait_entered()
    # Even root cannot put a file in the place of a folder.
    (saving.folder / "dump.rdb").mkdir()
    assert save(b.store.client) == "err"
    with pytest.raises(StoreUnavailable, match="cannot write to its disk"):
        b.enqueue(Run(n=2))
    gate.open()
    b.lines.wait_for("cannot record how jobs ended; keeping it and trying again")
    b.lines.wait_for("cannot claim; trying again")
    (saving.folder / "dump.rdb").rmdir()
    assert save(b.store.client) == "ok"
    b.lines.wait_for("recording again")
    b.lines.wait_for("claiming again")
    assert [each.result(PATIENCE) for each in handles] == [0, 1]
    assert sorted(runs) == [(0, 1), (1, 1), (1, 2)]
    saving.kill()


def test_full_memory(bench: Callable[..., Bench], server: Server, gate: Gate) -> None:
    """A full server refuses new jobs with the reason, while jobs that run and wait there finish."""
    b = bench(f"unix://{server.folder}/s", QueueSpec("q", concurrency=1))

    @processor(Run)
    def run(job: Job[Run]) -> int:
        if job.payload.n == 0:
            gate.enter()
        job.progress(50)
        return job.payload.n

    b.started(run)
    handles = [b.enqueue(Run(n=0)), b.enqueue(Run(n=1)), b.enqueue(Run(n=2), delay=0.2)]
    gate.wait_entered()
    b.store.client.config_set("maxmemory", 1)
    with pytest.raises(StoreFull, match="free memory, lower retention or raise maxmemory"):
        b.enqueue(Run(n=3))
    gate.open()
    assert [each.result(PATIENCE) for each in handles] == [0, 1, 2]
    b.store.client.config_set("maxmemory", 0)
    assert b.enqueue(Run(n=4)).result(PATIENCE) == 4


def test_eviction_in_production(bench: Callable[..., Bench], server: Server) -> None:
    """In production a worker does not start on a server that deletes jobs when it is full."""
    b = bench(f"unix://{server.folder}/s")
    b.store.client.config_set("maxmemory-policy", "allkeys-lru")

    @processor(Run)
    def run(job: Job[Run]) -> int:
        return job.payload.n

    with pytest.raises(ValueError, match="expected maxmemory-policy noeviction, got allkeys-lru"):
        b.worker(run, environment="production").start()
    b.started(run, environment="local")


def test_keeps_its_file(folder: Path) -> None:
    """What the servers of these tests acknowledge is there after a kill."""
    server = lone_server(folder)
    server.start()
    with redis.Redis(unix_socket_path=f"{folder}/s") as client:
        client.set("k", "v")
        server.kill()
        server.start()
        assert client.get("k") == b"v"
    server.kill()
