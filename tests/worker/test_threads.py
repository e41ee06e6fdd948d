"""The executor of threads: who runs next."""

import queue
from typing import Any

import attrs

from jobkit.store.records import Claimed
from jobkit.worker.attempt import Attempt
from jobkit.worker.outcomes import Completed, Outcome
from jobkit.worker.thread_executor import ThreadExecutor

PATIENCE = 10.0
"""Seconds after which what does not come fails its test."""


@attrs.frozen
class Short:
    """A pipeline of jobs that take no time. It tells what it runs, and runs it when told to go on."""

    begun: queue.SimpleQueue[str] = attrs.field(factory=queue.SimpleQueue)
    go_on: queue.SimpleQueue[None] = attrs.field(factory=queue.SimpleQueue)

    def run(self, attempt: Attempt) -> Outcome:
        self.begun.put(attempt.claimed.id)
        self.go_on.get(timeout=PATIENCE)
        attempt.started = attempt.ended = 1.0
        return Completed(b"")


def attempt(threads: ThreadExecutor, name: str) -> Attempt:
    """Make an attempt of a job of this id."""
    made = Attempt(Claimed("q", name, name, b"", b"", None, 0, 1, 0, 0, None))
    made.fence = threads.fence()
    return made


def test_what_waits_goes_before_what_follows() -> None:
    """Jobs that always have one to follow them hold up none that was handed out before."""
    pipeline: Any = Short()
    following = iter("uv")

    def on_end(*_: object) -> Attempt | None:
        name = next(following, None)
        return None if name is None else attempt(threads, name)

    threads = ThreadExecutor(pipeline, slots=1, on_end=on_end)
    threads.submit([attempt(threads, each) for each in "abc"])
    begun = []
    for _ in range(5):
        begun.append(pipeline.begun.get(timeout=PATIENCE))
        pipeline.go_on.put(None)
    threads.stop()
    assert threads.join(PATIENCE)
    assert begun == ["a", "b", "c", "u", "v"]
