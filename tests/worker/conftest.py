"""A bench: queues, processors and a worker on a server of the tests; and signals to wait for instead of sleeping."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from jobkit.client import Client, StoredHandle
from jobkit.config import Settings
from jobkit.envelopes import Envelopes
from jobkit.payloads import Payload
from jobkit.processing import Processor
from jobkit.processors import load_processors
from jobkit.queues import QueueSet, QueueSpec
from jobkit.results import as_draft, draft
from jobkit.store import Store
from jobkit.worker.worker import Worker

PATIENCE = 10.0
"""Seconds after which a signal that does not come fails its test."""


class Lines(logging.Handler):
    """The worker's log as signals: `wait_for` blocks until a line comes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def wait_for(self, message: str, *, times: int = 1, timeout: float = PATIENCE, **fields: Any) -> logging.LogRecord:
        def found() -> list[logging.LogRecord]:
            return [
                each
                for each in self.records
                if each.getMessage() == message and all(getattr(each, k, None) == v for k, v in fields.items())
            ]

        with self._changed:
            ok = self._changed.wait_for(lambda: len(found()) >= times, timeout)
            assert ok, (message, fields, [each.getMessage() for each in self.records])
            return found()[times - 1]

    def messages(self) -> list[str]:
        return [each.getMessage() for each in self.records]


@attrs.frozen
class OpenDoor:
    """A door to a store that is open already."""

    _store: Store

    def store(self) -> Store:
        return self._store

    async def astore(self) -> Store:
        return self._store


@attrs.define
class Bench:
    """One application on one server. Workers that a test leaves running are stopped at its end."""

    url: str
    store: Store
    lines: Lines
    queues: QueueSet
    client: Client
    workers: list[Worker] = attrs.field(factory=list)

    def worker(self, *processors: Processor[Any, ..., Any], container: Any = None, **options: Any) -> Worker:
        names = ("environment", "lease", "shutdown_timeout", "rq_functions")
        given = {name: options.pop(name) for name in names if name in options}
        settings = Settings(redis_url=self.url, **given)
        registry = load_processors(list(processors), entry_points=False)
        worker = Worker(self.store, settings, self.queues, registry, container, **options)
        self.workers.append(worker)
        return worker

    def started(self, *processors: Processor[Any, ..., Any], **options: Any) -> Worker:
        worker = self.worker(*processors, **options)
        worker.start()
        return worker

    def enqueue(self, payload: Payload[Any], **options: Any) -> StoredHandle[Any]:
        return self.client.enqueue(draft(payload, **options))

    def enqueue_many(self, payloads: list[Payload[Any]]) -> list[StoredHandle[Any]]:
        return self.client.enqueue_many([as_draft(each, "test") for each in payloads])

    def redis(self, *words: Any) -> Any:
        return self.store.client.execute_command(*words)

    def ended(self, worker: Worker, timeout: float = PATIENCE) -> None:
        worker.stop()
        assert worker.join(timeout)


def make_bench(url: str, lines: Lines, specs: list[QueueSpec]) -> Bench:
    """Make a bench on a server."""
    queues = QueueSet(specs)
    store = Store.open(url)
    door: Any = OpenDoor(store)
    return Bench(url, store, lines, queues, Client(door, Envelopes(queues, 1_048_576)))


@pytest.fixture(params=["asyncio", "uvloop"])
def both_loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test on each of the event loops that an application may have."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed (pip install jobkit[fast]); ./dev installs it")
    monkeypatch.setenv("JOBKIT_EVENT_LOOP", request.param)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Give the worker's log, from the level debug on."""
    log, handler = logging.getLogger("jobkit.worker"), Lines()
    before = log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture
def bench(store_url: str, lines: Lines) -> Iterator[Callable[..., Bench]]:
    """Make benches; with no spec, one queue named q."""
    made: list[Bench] = []

    def make(*specs: QueueSpec, url: str = store_url) -> Bench:
        bench = make_bench(url, lines, list(specs) or [QueueSpec("q", concurrency=4)])
        made.append(bench)
        return bench

    yield make
    for each in made:
        for worker in each.workers:
            worker.stop(now=True)
        for worker in each.workers:
            assert worker.join(PATIENCE)
        each.store.close()


class Gate:
    """A processor tells that it is there, and waits until it may go on."""

    def __init__(self) -> None:
        self.entered: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._open = threading.Event()

    def enter(self, what: Any = None) -> None:
        self.entered.put(what)
        assert self._open.wait(PATIENCE)

    def wait_entered(self) -> Any:
        return self.entered.get(timeout=PATIENCE)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Give a gate; it opens at the test's end, so that no thread waits for ever."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def spin() -> Callable[[threading.Event], None]:
    """Give a function that runs Python code, where an interruption lands, until its event is set."""

    def spin(end: threading.Event) -> None:
        deadline = time.monotonic() + PATIENCE
        while not end.is_set():
            assert time.monotonic() < deadline

    return spin
