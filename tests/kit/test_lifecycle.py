import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from jobkit import DeclarationError, JobKit, QueueSpec, Settings, StoreUnavailable
from jobkit.store.claims import Claims
from jobkit.store.records import QueueRules
from jobkit.worker import Worker
from tests.kit.app import NEVER_LONG, QUEUES, Add, Hold, Note, Stage, Sum, make_kit


def workers(url: str) -> int:
    """Give the number of workers that are registered."""
    with redis.Redis.from_url(url) as client:
        return int(client.scard("rq:workers"))


def test_making_a_kit_opens_nothing() -> None:
    """A kit on a server that is not there, with processors that do not import, is made without an error."""
    kit = JobKit(Settings(redis_url="unix:///nonexistent/socket"), queues=QUEUES, processors="no.such.module")
    assert kit.queues.names == ("sums", "notes")
    kit.close()


def test_running_starts_and_drains(store_url: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`running` serves jobs inside, and on exit waits for those that run."""
    stop = Worker.stop

    def stop_and_let_go(worker: Worker) -> None:
        stop(worker)
        stage.go.set()

    monkeypatch.setattr(Worker, "stop", stop_and_let_go)
    with make_kit(store_url, stage).running() as kit:
        assert kit.enqueue(Add(numbers=[2, 3])).result(timeout=NEVER_LONG) == Sum(total=5, of=[2, 3])
        handle = kit.enqueue(Hold())
        assert stage.started.wait(NEVER_LONG)
        assert workers(store_url) == 1
    assert workers(store_url) == 0
    with make_kit(store_url) as after:
        assert after.handle(handle.id, Hold).result(timeout=0) == "let go"


def test_running_serves_the_named_queues(store_url: str, stage: Stage) -> None:
    """`running("notes")` leaves the other queues alone."""
    with make_kit(store_url, stage).running("notes") as kit:
        other = kit.enqueue(Add(numbers=[]))
        kit.enqueue(Note(text="served")).result(timeout=NEVER_LONG)
        assert other.status().state == "queued"
        assert kit.jobs.workers()[0].queues == ("notes",)


def test_running_starts_no_worker_under_test(store_url: str, stage: Stage) -> None:
    """In the test environment nothing starts by itself; asked for, a worker does start."""
    with make_kit(store_url, stage, environment="test").running() as kit:
        assert workers(store_url) == 0
        handle = kit.enqueue(Note())
        assert handle.status().state == "queued"
    with make_kit(store_url, stage, environment="test").running(workers=True) as kit:
        assert kit.handle(handle.id).result(timeout=NEVER_LONG) is None
    with make_kit(store_url, stage).running(workers=False):
        assert workers(store_url) == 0


def test_only_workers_sweep(store_url: str, stage: Stage) -> None:
    """A kit that enqueues starts no thread and sweeps nothing; one with a worker rescues in every queue."""
    with make_kit(store_url, stage).running():  # so that the queues are known
        pass
    threads = threading.active_count()
    with make_kit(store_url, stage, lease=3) as kit, redis.Redis.from_url(store_url) as client:
        client.delete("rq:jk:sweep")
        handle = kit.enqueue(Add(numbers=[1]))
        rules = {"sums": QueueRules(keep_done=9, keep_dead=9)}
        channel = Claims(kit.store, "a worker that is gone", rules, lease=0.01).channel("claim")
        assert [each.id for each in channel.claim({"sums": 1}, block=0).claimed] == [handle.id]
        channel.close()
        client.delete("rq:jk:bell:sums")
        assert threading.active_count() == threads
        assert not client.exists("rq:jk:sweep")
        assert handle.status().state == "started"
        with make_kit(store_url, stage, lease=3).running("notes"):
            assert client.blpop("rq:jk:bell:sums", timeout=NEVER_LONG)
        assert handle.status().state == "queued"


def test_running_ends_its_worker_when_the_body_raises(store_url: str) -> None:
    """An error inside `running` passes through, and the worker ends."""
    with pytest.raises(KeyError, match="mine"), make_kit(store_url).running():
        raise KeyError("mine")
    assert workers(store_url) == 0


def test_a_worker_that_cannot_start_leaves_nothing(store_url: str) -> None:
    """Where the processors do not import, `running` raises before the body and closes the kit."""
    kit = JobKit(Settings(redis_url=store_url), queues=QUEUES, processors="no.such.module")
    threads = threading.active_count()
    with pytest.raises(DeclarationError, match=r"module 'no\.such\.module' does not import"), kit.running():
        pytest.fail("the body has begun")
    assert threading.active_count() == threads
    assert workers(store_url) == 0


def test_a_closed_kit_opens_anew(store_url: str) -> None:
    """`close` may be called twice, and a later call connects again."""
    kit = make_kit(store_url)
    first = kit.enqueue(Note()).id
    kit.close()
    kit.close()
    assert kit.handle(first).status().state == "queued"
    kit.close()


def test_close_leaves_no_connection(store_url: str) -> None:
    """After `close` and `aclose` the server has no connection of the kit left."""
    with redis.Redis.from_url(store_url) as client:
        before = len(client.client_list())

        async def main() -> None:
            async with make_kit(store_url) as kit:
                handles = await asyncio.gather(*(kit.aenqueue(Note()) for _ in range(5)))
                kit.enqueue(Note())
                waits = [asyncio.create_task(each.aresult(timeout=0.01)) for each in handles]
                await asyncio.wait(waits)
                assert all(isinstance(each.exception(), TimeoutError) for each in waits)
                assert len(client.client_list()) > before

        asyncio.run(main())
        # The server learns of a closed socket when it next looks: ask until it has.
        for _ in range(1000):
            if len(client.client_list()) == before:
                break
        assert len(client.client_list()) == before


def test_several_kits_in_one_process(store_url: str, both_servers: str) -> None:
    """Kits of one process, on one server or on two, keep to themselves."""
    one, two = Stage(), Stage()
    with make_kit(store_url, one).running(), make_kit(both_servers, two).running() as second:
        assert second.enqueue(Note(text="second")).result(timeout=NEVER_LONG) is None
    assert sorted(one.notes + two.notes) == ["second"]


def test_enqueue_from_many_threads(store_url: str) -> None:
    """Threads that use a new kit at once open it once, and all their jobs are stored."""
    kit = make_kit(store_url)
    stores: list[object] = []

    def work() -> None:
        stores.append(kit.store)
        kit.enqueue_many([Note() for _ in range(50)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(map(id, stores))) == 1
    assert kit.jobs.counts()[1].queued == 400
    kit.close()


def test_the_default_is_an_embedded_server(tmp_path: Path) -> None:
    """Without a URL a kit outside production runs on a server of this machine, whose jobs outlive it."""
    script = tmp_path / "app.py"
    script.write_text(
        "from tests.kit.app import *\n"
        "with JobKit(queues=QUEUES, processors=Stage().processors()) as kit:\n"
        "    kit.enqueue(Note(), job_id='kept')\n"
        "    print(kit.jobs.counts()[1].queued, kit.redis_url.split(':')[0])\n"
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith("JOBKIT_")}
    env |= {
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, script], env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
        )
        assert (ended.stdout, ended.stderr) == ("1 unix\n", "")


def test_server_gone_at_the_first_use_is_told() -> None:
    """A kit whose server is not there says so at the first call, and tries anew at the next."""
    kit = make_kit("unix:///nonexistent/socket")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Check that the server runs and that JOBKIT_REDIS_URL names it"):
            kit.enqueue(Note())
    with pytest.raises(StoreUnavailable), kit.running():
        pytest.fail("the body has begun")


def test_kit_refuses_what_are_no_settings() -> None:
    """The first argument is Settings or nothing; the class, or the queues, are told."""
    with pytest.raises(
        DeclarationError, match=r"JobKit: expected Settings first, got <class 'jobkit.config.Settings'>"
    ):
        JobKit(Settings, queues=[])  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match=r"queues=: expected a list of QueueSpec"):
        JobKit(Settings(environment="test"), queues=QueueSpec("a"))  # type: ignore[arg-type]
