"""The event loop that all async attempts share, and processors that would end it."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from jobkit.errors import ConfigurationError, JobFailed
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.policies import Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from jobkit.worker import event_loops
from tests.worker.conftest import PATIENCE

pytestmark = pytest.mark.usefixtures("both_loops")


class Break(Payload, name="break", queue="q"):
    how: str


class Wait(Payload[str], name="wait", queue="q"):
    pass


async def leave() -> None:
    """End the process, or try to."""
    sys.exit("leaving")


async def interrupt() -> None:
    """Do as Ctrl-C would."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "stop", "callback"])
def test_the_loop_survives_its_processors(bench: Callable[..., Any], how: str) -> None:
    """A task that asks the process to end, or stops the loop, fails its own job at most: those beside it end well."""
    b = bench(QueueSpec("q", retry=Retry(attempts=1)))
    inside, go_on = asyncio.Event(), asyncio.Event()

    @processor(Wait)
    async def wait(job: Job[Wait]) -> str:
        inside.set()
        await go_on.wait()
        return "well"

    @processor(Break)
    async def break_(job: Job[Break]) -> None:
        await inside.wait()
        loop = asyncio.get_running_loop()
        loop.call_soon(go_on.set)
        if job.payload.how == "stop":
            loop.stop()
        elif job.payload.how == "callback":
            loop.call_soon(sys.exit)
        else:
            await asyncio.create_task(leave() if job.payload.how == "SystemExit" else interrupt())

    worker = b.started(wait, break_)
    beside, broken = b.enqueue(Wait()), b.enqueue(Break(how=how))
    if how in {"stop", "callback"}:
        broken.result(10)
    else:
        with pytest.raises(JobFailed, match=how):
            broken.result(10)
    assert beside.result(10) == "well"
    assert b.enqueue(Wait()).result(10) == "well"
    b.ended(worker)
    assert not worker.failed


def test_the_loop_is_the_one_that_is_named(bench: Callable[..., Any], request: pytest.FixtureRequest) -> None:
    """Async processors run on the loop that the settings name."""
    b = bench()
    kinds: list[str] = []

    @processor(Wait)
    async def wait(job: Job[Wait]) -> str:
        kinds.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])
        return "well"

    b.started(wait)
    assert b.enqueue(Wait()).result(timeout=PATIENCE) == "well"
    assert kinds == [request.node.callspec.params["both_loops"]]


def test_a_loop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uvloop, auto is asyncio's loop, and asking for uvloop by name is refused with the remedy."""
    monkeypatch.setattr(event_loops, "uvloop", None)
    loop = event_loops.new_event_loop("auto")
    loop.close()
    assert type(loop).__module__.startswith("asyncio")
    with pytest.raises(ConfigurationError, match=r"Install jobkit\[fast\]"):
        event_loops.new_event_loop("uvloop")
