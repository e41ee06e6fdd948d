"""A plain `rq worker --serializer json` and a jobkit worker, real processes on one queue."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rq
from click.testing import CliRunner
from redis import Redis
from rq.cli import main as rq_cli
from rq.registry import StartedJobRegistry, clean_registries
from rq.results import Result

from jobkit import JobKit, Settings
from tests.rq.app import Count, create_kit

ROOT = Path(__file__).parents[2]
EACH = 100
# Imported before it forks, so that not every horse does it again.
PLAIN = "import tests.rq.app, sys; from rq.cli import main; sys.exit(main())"
OURS = "import sys; from jobkit.cli import main; sys.exit(main())"

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(store_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start processes of the application; they are stopped at the end."""
    started: list[subprocess.Popen[bytes]] = []
    env = {name: value for name, value in os.environ.items() if not name.startswith("JOBKIT_")}
    env |= {
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "JOBKIT_REDIS_URL": store_url,
        "JOBKIT_APP": "tests.rq.app:create_kit",
        "JOBKIT_RQ_FUNCTIONS": "tests.rq.app.count",
    }

    def begin(code: str, *words: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"{len(started)}.log").open("wb")
        with log:
            process = subprocess.Popen([sys.executable, "-c", code, *words], env=env, stdout=log, stderr=log)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def kit(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobKit]:
    """Give the application's kit on the server of the test."""
    monkeypatch.setenv("JOBKIT_REDIS_URL", store_url)
    with create_kit() as kit:
        yield kit


def told(redis: Redis, times: int, meanwhile: Callable[[], object] = lambda: None) -> set[str]:
    """Wait for so many runs; the processes they were in."""
    found = set()
    for _ in range(times):
        entry: Any = redis.blpop(["told"], timeout=4) or redis.blpop(["told"], timeout=4)
        assert entry is not None
        found.add(entry[1].decode())
        meanwhile()
    return found


def look(redis: Redis, url: str) -> None:
    """What operators and plain workers do at any time."""
    assert CliRunner().invoke(rq_cli, ["info", "--url", url]).exit_code == 0
    clean_registries(rq.Queue("shared", connection=redis, serializer="json"))
    StartedJobRegistry("shared", connection=redis, serializer="json").cleanup()


def test_each_job_runs_once(store_url: str, start: Start, kit: JobKit) -> None:
    """200 jobs of both kinds, on both workers, with `rq info` all the while: each runs once and both sides read it."""
    redis = Redis.from_url(store_url)
    queue = rq.Queue("shared", connection=redis, serializer="json")
    for n in range(EACH):
        kit.enqueue(Count(n=n), job_id=f"ours-{n}")
        queue.enqueue("tests.rq.app.count", "theirs", n, job_id=f"theirs-{n}")
    start(PLAIN, "worker", "--serializer", "json", "--url", store_url, "shared")
    plain = told(redis, 10)
    ours = start(OURS, "worker", "shared")
    left = iter(range(2 * EACH))

    def sometimes() -> None:
        if next(left) % 20 == 0:
            look(redis, store_url)

    pids = plain | told(redis, 2 * EACH - 10, sometimes)
    assert str(ours.pid) in pids
    names = {f"{kind}-{n}" for kind in ("ours", "theirs") for n in range(EACH)}
    workers: dict[str, set[str]] = {"ours": set(), "theirs": set()}
    for name in names:
        n = int(name.partition("-")[2])
        assert kit.handle(name).result(10) == n
        job = rq.job.Job.fetch(name, connection=redis, serializer="json")
        assert (job.get_status(), job.return_value()) == ("finished", n)
        (only,) = job.results()
        assert only.type is Result.Type.SUCCESSFUL
        workers[name.partition("-")[0]].add(only.worker_name)
    assert [len(each) for each in workers.values()] == [2, 2]
    assert {k.decode(): int(v) for k, v in redis.hgetall("runs").items()} == dict.fromkeys(names, 1)
    assert redis.zcard("rq:jk:lease:shared") == redis.zcard("rq:wip:shared") == redis.llen("rq:queue:shared") == 0
    redis.close()


def test_perform_needs_the_app(start: Start, store_url: str, kit: JobKit) -> None:
    """A plain worker runs a jobkit job through JOBKIT_APP, and leaves what a jobkit handle reads."""
    handle = kit.enqueue(Count(n=7))
    start(PLAIN, "worker", "--burst", "--serializer", "json", "--url", store_url, "shared").wait(20)
    assert handle.result(5) == 7
    assert Settings(redis_url=store_url).redis_url == store_url
