"""jobkit's jobs on a plain RQ worker."""

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobkit.errors import ConfigurationError, Unrecoverable
from jobkit.worker import perform

APP = """
from jobkit.config import Settings
from jobkit.factory import JobKit
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from jobkit.results import JobResult

class Twice(Payload[int], name="twice", queue="q"):
    n: int

@processor(Twice)
def twice(job: Job[Twice]) -> JobResult[int]:
    if job.payload.n == 0:
        return JobResult.snoozed(5, "not yet")
    if job.payload.n == 1:
        return JobResult.cancelled("no")
    return JobResult.completed(job.payload.n * 2, then=[Twice(n=1)] if job.payload.n == 5 else [])

def create_kit():
    return JobKit(Settings(redis_url={url!r}), queues=[QueueSpec("q")], processors=[twice])
"""


@pytest.fixture
def app(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the module of an app that JOBKIT_APP names."""
    (tmp_path / "plain_app.py").write_text(textwrap.dedent(APP.replace("{url!r}", repr(store_url))))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("JOBKIT_APP", "plain_app:create_kit")
    yield __import__("plain_app")
    sys.modules.pop("plain_app")


@pytest.mark.usefixtures("handlers_put_back")
def test_a_plain_worker_runs_our_job(app: Any, bench: Callable[..., Any]) -> None:
    """A job that jobkit enqueued runs on rq's SimpleWorker, and both read its result."""
    import rq

    b = bench()
    handle = b.enqueue(app.Twice(n=21))
    worker = rq.SimpleWorker(["q"], connection=b.store.client, serializer="json")
    worker.work(burst=True, logging_level="WARNING")
    assert rq.job.Job.fetch(handle.id, connection=b.store.client, serializer="json").return_value() == 42


def test_follow_ups_are_enqueued(app: Any, bench: Callable[..., Any]) -> None:
    """Follow-ups go out after the processor; a cancelled job gives nothing; a snoozed one cannot be."""
    b = bench()
    assert perform("twice", 1, {"n": 5}) == 10
    assert b.redis("LLEN", "rq:queue:q") == 1
    assert perform("twice", 1, {"n": 1}) is None
    with pytest.raises(Unrecoverable, match="run it with `jobkit worker`"):
        perform("twice", 1, {"n": 0})


def test_without_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without JOBKIT_APP the error says what to set."""
    monkeypatch.delenv("JOBKIT_APP", raising=False)
    with pytest.raises(ConfigurationError, match="expected module:attr"):
        perform("twice", 1, {"n": 5})
