"""The time tracker whole: its world on loopback, its kit on a real server, workers inside or as processes."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from time_tracker.api import Api
from time_tracker.jobs import create_kit
from time_tracker.outside import ExtractionService
from time_tracker.specimens import Specimen, batch
from time_tracker.worker_process import WorkerProcess
from time_tracker.world import World

from jobkit import Fixed, JobKit, Retry, Settings

IMPATIENT = Retry(attempts=3, backoff=Fixed(0.05))


class Gate:
    """Holds the requests that come to the extraction service until it is opened, and tells how many have come."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._arrived = threading.Semaphore(0)

    def __call__(self, text: str) -> None:
        self._arrived.release()
        self._open.wait(30)

    def await_requests(self, count: int) -> None:
        """Wait until so many requests are held."""
        for _ in range(count):
            assert self._arrived.acquire(timeout=30), "the extraction service was not asked"

    def open(self) -> None:
        """Let all requests pass, from now on."""
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Give a gate for the extraction service, which is open when the test ends."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def service(request: pytest.FixtureRequest) -> ExtractionService:
    """Give the extraction service that the world will run; it is held by the gate in tests that ask for one."""
    held = request.getfixturevalue("gate") if "gate" in request.fixturenames else None
    return ExtractionService(retry_after=0.05, before_answer=held)


@pytest.fixture
def world(tmp_path: Path, service: ExtractionService, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give the app's world, which workers inside this process find through the environment."""
    with World(tmp_path, extraction=service) as world:
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        yield world


@pytest.fixture
def kit(store_url: str) -> Iterator[JobKit]:
    """Give the app's kit on an empty server, with retries that come quickly."""
    with create_kit(Settings(redis_url=store_url, environment="test"), retry=IMPATIENT) as kit:
        yield kit


@pytest.fixture
def api(kit: JobKit) -> Api:
    """Give the API's side of the app."""
    return Api(kit)


@pytest.fixture
def pdfs(world: World) -> list[Specimen]:
    """Hand in four readable invoices as PDFs, which take no OCR, and one that has no total."""
    specimens = batch(5, scans=False)
    world.hand_in(specimens)
    return specimens


@pytest.fixture
def start_worker(world: World, store_url: str, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Give a function that starts a worker process, which is stopped when the test ends."""
    with ExitStack() as stack:

        def start(name: str = "worker", **environment: str) -> WorkerProcess:
            own = {"JOBKIT_REDIS_URL": store_url, "JOBKIT_ENVIRONMENT": "local", **world.environment, **environment}
            worker = stack.enter_context(WorkerProcess(tmp_path / f"{name}.log", own))
            stack.callback(tell, worker)
            return worker

        def tell(worker: WorkerProcess) -> None:
            tail = worker.log.read_text().splitlines()[-30:]
            sys.stdout.write("\n".join([f"{worker.log.name}:", *tail, ""]))  # pytest shows it where the test failed

        yield start


@pytest.fixture
def tesseract() -> None:
    """Skip the test where Tesseract is not installed."""
    if shutil.which("tesseract") is None:
        pytest.skip("Tesseract is not installed (apt-get install tesseract-ocr); .ci/run installs it")
