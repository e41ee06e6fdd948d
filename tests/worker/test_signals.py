import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jobkit import Job, Payload, processor

PATIENCE = 10.0


class Tell(Payload, name="tell", queue="q"):
    """A job that signals its own worker."""


@contextmanager
def last_resort(stop: Callable[[], None]) -> Iterator[list[str]]:
    """Stop the worker when nothing else does, so that the test fails instead of waiting for ever."""
    needed: list[str] = []

    def resort() -> None:
        needed.append("the worker had to be stopped by hand")
        stop()

    timer = threading.Timer(PATIENCE, resort)
    timer.start()
    yield needed
    timer.cancel()
    timer.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_does_not_wake_the_main_thread_is_heard(bench: Any, number: signal.Signals) -> None:
    """A worker process ends on a signal that found its main thread unable to notice, within a second."""

    @processor(Tell)
    def tell(job: Job[Tell]) -> None:
        # The kernel hands it to this thread, and the main thread sleeps on: what happens too when a signal comes just
        # before the main thread begins to wait.
        signal.pthread_kill(threading.get_ident(), number)

    here = bench()
    worker = here.worker(tell, environment="local")
    here.enqueue(Tell())
    with last_resort(worker.stop) as needed:
        assert worker.run(leave=pytest.fail) == 0
    assert needed == []
