import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jobkit import Job, Payload, processor
from jobkit.worker.signals import taken

PATIENCE = 10.0


class Fork(Payload[int], name="fork", queue="q"):
    """A job that forks a process and ends it."""


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


def fork_and_end() -> int:
    """How a fork ends that is sent SIGTERM: it exits with 7 when it can still be told to, afterwards."""
    ready, told = os.pipe(), os.pipe()
    if not (forked := os.fork()):
        os.write(ready[1], b"x")
        os.read(told[0], 1)
        os._exit(7)
    assert os.read(ready[0], 1)
    os.kill(forked, signal.SIGTERM)
    os.write(told[1], b"x")
    for each in (*ready, *told):
        os.close(each)
    return os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])


def test_a_job_ends_what_it_forked(bench: Any) -> None:
    """SIGTERM ends a process that a job has forked, as it ends any, and the worker goes on."""

    @processor(Fork)
    def fork(job: Job[Fork]) -> int:
        return fork_and_end()

    here = bench()
    worker = here.worker(fork, environment="local")
    ends: list[int] = []

    def ask() -> None:
        try:
            ends.extend(here.enqueue(Fork()).result(PATIENCE) for _ in range(2))
        finally:
            worker.stop()

    asker = threading.Thread(target=ask)
    asker.start()
    assert worker.run(leave=pytest.fail) == 0
    asker.join(PATIENCE)
    assert ends == [-signal.SIGTERM, -signal.SIGTERM]


def test_signals_are_given_back() -> None:
    """What handled the signals before handles them afterwards, and in a fork; nothing of the taker is kept."""

    class Taker:
        heard = 0

        def hear(self, *_: object) -> None:
            self.heard += 1

    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    taker = Taker()
    kept = weakref.ref(taker)
    with taken(taker.hear):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert taker.heard == 2
        assert fork_and_end() == -signal.SIGTERM
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    del taker
    gc.collect()
    assert kept() is None
