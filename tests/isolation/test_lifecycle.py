"""Starting and ending: what cannot be given to a child is refused, and no child is left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from jobkit import processor
from jobkit.errors import ConfigurationError, DeclarationError, MissingProvider
from jobkit.jobs import Job, JobState
from jobkit.queues import QueueSpec
from jobkit.store import Store
from jobkit.worker import process
from tests.isolation.jobs import Run, broken_container, viewed


def test_options() -> None:
    """Wrong options of isolation say what was expected."""
    with pytest.raises(DeclarationError, match="expected 'thread' or 'process', got 'proces'; did you mean 'process'"):
        QueueSpec("q", isolation="proces")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match=r"max_memory=.*isolation='process'"):
        QueueSpec("q", max_memory=2**30)
    with pytest.raises(DeclarationError, match=r"max_jobs=.*isolation='process'"):
        QueueSpec("q", max_jobs=1)
    with pytest.raises(DeclarationError, match="1048576 or more, got 512"):
        QueueSpec("q", isolation="process", max_memory=512)


def test_a_container_that_cannot_travel(isolated: Callable[..., Any]) -> None:
    """A container that no child can be given is refused at the start, with the remedy."""
    b = isolated()
    with pytest.raises(ConfigurationError, match=r"container= cannot be given .* function at the top of a module"):
        b.start(container=lambda: None)


def test_a_processor_that_cannot_travel(isolated: Callable[..., Any]) -> None:
    """A processor that no child can find by its name is refused at the start, with the remedy."""

    @processor(Run)
    def local(job: Job[Run]) -> int:
        return 1

    b = isolated()
    with pytest.raises(ConfigurationError, match=r"local cannot be given .* at the top of a module"):
        b.start(local)


def test_a_platform_without_a_fork_server(isolated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where multiprocessing has no fork server the worker says so at its start."""
    monkeypatch.setattr(process, "METHOD", "forkserver-of-another-platform")
    with pytest.raises(ConfigurationError, match="expected a platform with a fork server"):
        isolated().start()


def test_a_store_without_a_url(isolated: Callable[..., Any]) -> None:
    """A store that was made from a client is refused: a child cannot open it by its URL."""
    b = isolated()
    b.bench.store = Store(b.bench.store.client)
    with pytest.raises(ConfigurationError, match="store with a URL"):
        b.start()


def test_a_container_that_does_not_open(isolated: Callable[..., Any]) -> None:
    """What keeps the first child from taking jobs is raised by the worker's start, as what it was."""
    b = isolated()
    with pytest.raises(ValueError, match="the database is away"):
        b.start(container=broken_container)
    with pytest.raises(MissingProvider, match="things"):
        b.start(viewed)


def test_a_child_that_cannot_be_started_later(isolated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A job for which no child can be started is put off and loses no attempt."""
    b = isolated(max_jobs=1, concurrency=1)
    b.start()
    b.result(Run())

    def refuse(*_: object) -> None:
        raise OSError("out of memory")

    monkeypatch.setattr(process.Nursery, "start", refuse)
    handle = b.enqueue(Run())
    b.lines.wait_for("job put off")
    status = handle.status()
    assert status.state is JobState.SCHEDULED
    assert "out of memory" in status.reason
    assert status.attempt <= 1


def test_shutdown_puts_back(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """A job that does not end within the shutdown timeout is killed and put back, uncounted, also by a host process."""
    b = isolated()
    worker = b.start(shutdown_timeout=0.1)
    handle = b.enqueue(Run(what="loop", url=b.bench.url))
    child = watch(b.entered())
    b.bench.ended(worker)
    child.wait_gone()
    assert handle.status().state is JobState.QUEUED
    assert b.bench.redis("HGET", f"rq:job:{handle.id}", "jk_failed") in {None, b"0"}
    b.lines.wait_for("put back unfinished jobs", jobs=1)


def test_shutdown_waits(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """A job that ends within the shutdown timeout is finished, and its child leaves."""
    b = isolated()
    worker = b.start()
    handle = b.enqueue(Run(what="told", url=b.bench.url))
    child = watch(b.entered())
    worker.stop()
    b.go()
    assert worker.join(10)
    child.wait_gone()
    assert handle.status().state is JobState.FINISHED


def test_the_death_of_a_worker_process(isolated: Callable[..., Any], watch: Callable[..., Any], store_url: str) -> None:
    """A child logs as its worker does, each line with its job; when the worker is killed no child, no program stays."""
    b = isolated()
    worker = subprocess.Popen(
        [sys.executable, "-m", "jobkit", "worker", "--app", "tests.isolation.jobs:create_kit"],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("JOBKIT_")},
            "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
            "JOBKIT_REDIS_URL": store_url,
            "JOBKIT_LOG_FORMAT": "json",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        handle = b.enqueue(Run(what="log"))
        handle.result(20)
        for what in ("loop", "program"):
            b.enqueue(Run(what=what, url=store_url))
        family = watch([*b.entered(), *b.entered()])
        worker.send_signal(signal.SIGKILL)
        family.wait_gone()
        assert worker.stderr
        lines = [json.loads(line) for line in worker.stderr if line.startswith("{")]
    finally:
        worker.kill()
        worker.wait()
        if worker.stderr:
            worker.stderr.close()
    said = [line for line in lines if line["event"] == "at work"]
    assert [(line["job_id"], line["queue"], line["logger"], line["level"]) for line in said] == [
        (handle.id, "q", "acme", "warning")
    ]
