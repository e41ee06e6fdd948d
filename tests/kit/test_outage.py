import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobkit import JobKit, JobState, StoreUnavailable
from jobkit.embedded.binary import find_binary
from jobkit.embedded.guard import die_with_parent
from jobkit.store import Store
from jobkit.store.operations import origin
from tests.kit.app import NEVER_LONG, Add, Hold, Note, Stage, make_kit

CONFIG = """\
port 0
unixsocket {folder}/s
dir {folder}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
"""


class Server:
    """A server that can be killed and started again on what it had written."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/s"
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        process = subprocess.Popen(
            [find_binary(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - async-signal-safe
        )
        self._process = process
        assert process.stdin
        assert process.stdout
        process.stdin.write(CONFIG.format(folder=self._folder))
        process.stdin.close()
        for line in process.stdout:
            if "eady to accept connections" in line:
                break
        # Nobody waits for the rest of its log: read, so that the pipe never fills.
        self._log = threading.Thread(target=process.stdout.read)
        self._log.start()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._log.join()
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server of the test's own, not yet started, which keeps what it acknowledged."""
    folder = Path(tempfile.mkdtemp(prefix="jk-"))
    made = Server(folder)
    yield made
    made.kill()
    shutil.rmtree(folder, ignore_errors=True)


def test_server_away_at_the_start(server: Server) -> None:
    """A kit made and used before its server is there says so, and works once it is."""
    with make_kit(server.url) as kit:
        with pytest.raises(StoreUnavailable, match="Check that the server runs"):
            kit.enqueue(Note())
        with pytest.raises(StoreUnavailable):
            asyncio.run(kit.aenqueue(Note()))
        with pytest.raises(StoreUnavailable), kit.running():
            pytest.fail("the body has begun")
        server.start()
        assert kit.enqueue(Note()).status().state is JobState.QUEUED


def test_client_works_again_after_an_outage(server: Server) -> None:
    """While the server is away every call says so at once; afterwards the same kit goes on, and nothing is lost."""
    server.start()

    async def main(kit: JobKit) -> None:
        before = await kit.aenqueue(Note(text="before"))
        wait = asyncio.create_task(before.aresult(timeout=NEVER_LONG))
        await before.astatus()
        server.kill()
        began = time.monotonic()
        for call in (kit.enqueue, before.status, before.cancel, kit.jobs.counts):
            with pytest.raises(StoreUnavailable, match="JOBKIT_REDIS_URL"):
                call(Note()) if call == kit.enqueue else call()  # type: ignore[operator]
        with pytest.raises(StoreUnavailable):
            await kit.aenqueue(Note())
        with pytest.raises(StoreUnavailable):
            await kit.aenqueue_many([Note() for _ in range(3)])
        with pytest.raises(StoreUnavailable):
            await wait
        assert time.monotonic() - began < 5
        server.start()
        assert (await before.astatus()).state is JobState.QUEUED
        after = await kit.aenqueue(Note(text="after"))
        assert [job.id for job in kit.jobs.ls(queue="notes")] == [before.id, after.id]
        again = kit.enqueue(Note(text="again"), job_id=before.id)
        assert kit.jobs.get(again.id).payload == {"text": "before"}

    async def whole() -> None:
        async with make_kit(server.url) as kit:
            await main(kit)

    asyncio.run(whole())


def test_workers_go_on_after_an_outage(server: Server) -> None:
    """Jobs that wait or run when the server dies are done after it has returned; those who waited can ask again."""
    server.start()
    stage = Stage()
    with make_kit(server.url, stage, lease=2).running() as kit:
        held = kit.enqueue(Hold())
        assert stage.started.wait(NEVER_LONG)
        waiting = kit.enqueue(Add(numbers=[1, 2]), delay=0.2)
        server.kill()
        with pytest.raises(StoreUnavailable):
            held.result(timeout=NEVER_LONG)
        stage.go.set()
        server.start()
        assert kit.enqueue(Add(numbers=[3])).result(timeout=NEVER_LONG).total == 3
        assert waiting.result(timeout=NEVER_LONG).total == 3
        assert held.result(timeout=NEVER_LONG) == "let go"


def test_silent_server_is_given_up(tmp_path: Path) -> None:
    """A server that takes connections and answers nothing is given up after the timeout, on threads and on loops."""
    folder = Path(tempfile.mkdtemp(prefix="jk-"))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "s"))
        silent.listen()
        store = Store.open(f"unix://{folder}/s", socket_timeout=0.1)

        async def main() -> None:
            with pytest.raises(StoreUnavailable, match="no usable answer from Redis"):
                await store.arun(origin(store.keys, "any"))
            with pytest.raises(StoreUnavailable, match="no usable answer from Redis"):
                await store.await_entry("any", "0-0", NEVER_LONG)
            await store.aclose()

        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="no usable answer from Redis"):
            store.run(origin(store.keys, "any"))
        asyncio.run(main())
        assert time.monotonic() - began < 3
        store.close()
    shutil.rmtree(folder)
