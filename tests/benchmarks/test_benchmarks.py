"""The benchmarks run: each once, tiny, so that they do not rot. No figure is judged here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import budget, growth, limits
from benchmarks.environments import ENVIRONMENTS
from benchmarks.page import page
from benchmarks.report import markdown
from benchmarks.rows import GROUPS, ROWS, WORKLOADS
from benchmarks.servers import Server, private_server
from benchmarks.session import Plan, perform
from benchmarks.stage import Sizes, Stage
from benchmarks.systems import SYSTEMS, System

TINY = Sizes(
    jobs=20,
    many=20,
    sleeps=5,
    paced=5,
    slots=2,
    sleep_slots=5,
    grown=100,
    queues=3,
    note_bytes=(1000, 2000),
    beside=20,
    workers=2,
    idle_seconds=0.1,
    pushes=2,
    settle=0.0,
)
RUNS = {
    "drain": "rq-fork",
    "processes": "jobkit-async-2p",
    "sleep": "rq-simple",
    "latency-unix": "jobkit-threads",
    "plain": "jobkit-async",
    "finished": "jobkit-isolated",
    "idle": "jobkit-async",
}
"""What differs in more than a size, each with another system; enqueueing is a part of all."""
GROWTH: dict[str, tuple[Callable[[Stage, System], dict[str, float]], str]] = {
    "retained": (growth.with_retained, "jobkit-async"),
    "waiting": (growth.with_waiting, "rq-simple"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of the embedded one's program, which is always there."""
    with private_server("valkey") as each:
        yield each


@pytest.fixture
def stage(server: Server, tmp_path: Path) -> Stage:
    """A stage that is small."""
    return Stage(server, server.tcp, tmp_path, TINY)


@pytest.mark.parametrize(("workload", "system"), RUNS.items())
def test_workload(workload: str, system: str, stage: Stage) -> None:
    """Each workload runs, and gives the figures of its rows."""
    assert system in WORKLOADS[workload].systems
    figures = WORKLOADS[workload].run(stage, SYSTEMS[system])
    for row in ROWS.values():
        if row.workload == workload:
            assert set(row.figures) <= set(figures), row.name


@pytest.mark.parametrize("name", GROWTH)
def test_growth(name: str, stage: Stage) -> None:
    """A drain and a pick-up run where there is a lot of something."""
    with_lot, system = GROWTH[name]
    figures = with_lot(stage, SYSTEMS[system])
    assert {"per_s", "p50_ms", "redis_cpu_per_10k"} <= set(figures)


def test_growth_compares(stage: Stage) -> None:
    """What a lot of something does is told beside the same with a little of it."""
    figures = growth.growth(growth.with_queues, stage, SYSTEMS["rq-simple"])
    assert set(ROWS["growth-queues"].figures) <= set(figures)


def test_session(tmp_path: Path) -> None:
    """A run through the proxy, on one core, is written as JSON, and told in tables and on the page."""
    path = tmp_path / "runs.json"
    systems = ("jobkit-async", "rq-simple")
    plan = Plan(("enqueue",), systems, 1, ("pinned",), server="valkey", delay=0.5, patience=0.0, sizes=TINY)
    document = perform(plan, "./dev bench enqueue", path)
    assert document == json.loads(path.read_text())
    assert document["delay"]["trip_ms"] > document["delay"]["direct_ms"]
    assert "| jobkit-async |" in markdown(document)
    assert markdown(document) in page([document])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_peer(name: str, stage: Stage) -> None:
    """Each peer that `./dev bench peers` has made drains its queue."""
    if not ENVIRONMENTS[name].made:
        pytest.skip(f"./dev bench peers {name} has not been run here")
    system = next(each for each in SYSTEMS.values() if each.environment == name)
    assert WORKLOADS["drain"].run(stage, system)["jobs"] == TINY.jobs


def test_names() -> None:
    """Every row has a workload, every group has rows, and every workload has systems."""
    assert {row.workload for row in ROWS.values()} == set(WORKLOADS)
    assert {name for rows in GROUPS.values() for name in rows} == set(ROWS)
    assert {name for workload in WORKLOADS.values() for name in workload.systems} == set(SYSTEMS)


def test_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """The budget of a job is measured, the server's part and Python's."""
    budget.main(["--jobs", "20", "--rounds", "1", "--server", "valkey"])
    told = capsys.readouterr().out
    assert "advance, batches of 10: " in told
    assert "read the answer of a claim" in told


def test_limits(capsys: pytest.CaptureFixture[str]) -> None:
    """Rate limits and mutexes are counted from outside, and hold."""
    limits.main(
        ["--seconds", "2", "--workers", "2", "--count", "20", "--jobs", "8", "--keys", "2", "--server", "valkey"]
    )
    rate, mutex = capsys.readouterr().out.splitlines()
    assert "at most 20 in any window of 1 s (allowed: 20)" in rate
    assert "8 of 8 jobs ran on 2 keys by 2 workers" in mutex
    assert mutex.endswith("two at once: 0")
