import gc
import os
import signal
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

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
        assert worker.run(leave=stay) == 0
    assert needed == []


def be_ended(ready: int, told: int) -> NoReturn:
    """What a fork does: it never returns into what forked it, and is ended by an alarm when nothing else does it."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(PATIENCE / 2))
        os.write(ready, b"x")
        os.read(told, 1)
        os._exit(7)
    except BaseException:  # noqa: BLE001 - it is the process's end, whatever came
        traceback.print_exc()
    finally:
        os._exit(1)


def fork_and_end() -> int:
    """How a fork ends that is sent SIGTERM: it exits with 7 when it can still be told to, afterwards."""
    (ready, tell_ready), (told, tell) = os.pipe(), os.pipe()
    if not (forked := os.fork()):
        os.close(tell)
        be_ended(tell_ready, told)
    for each in (tell_ready, told):
        os.close(each)
    with os.fdopen(ready, "rb") as answers, os.fdopen(tell, "wb", buffering=0) as order:
        said = answers.read(1)  # nothing, when it died first
        os.kill(forked, signal.SIGTERM)
        with suppress(BrokenPipeError):
            order.write(b"x")
        code = os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])
    assert said, code
    return code


def stay(code: int) -> NoReturn:
    """Fail instead of leaving the process."""
    pytest.fail(f"the worker left with {code}: it has threads that do not end")


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
    assert worker.run(leave=stay) == 0
    asker.join(PATIENCE)
    assert ends == [-signal.SIGTERM, -signal.SIGTERM]


def test_handlers_taken_inside_another_and_after_it() -> None:
    """The inner one hears, then the outer one again; what forks from either has what was set before both."""
    heard: list[str] = []
    for _ in range(2):
        with taken(lambda *_: heard.append("outer")):
            with taken(lambda *_: heard.append("inner")):
                signal.raise_signal(signal.SIGTERM)
                assert fork_and_end() == -signal.SIGTERM
            signal.raise_signal(signal.SIGTERM)
            assert fork_and_end() == -signal.SIGTERM
        assert fork_and_end() == -signal.SIGTERM
    assert heard == ["inner", "outer"] * 2


def test_a_handler_that_was_set_meanwhile_is_left() -> None:
    """What the program sets while the signals are taken stays, and a fork has it."""

    def mine(*_: object) -> None:
        os._exit(3)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with taken(lambda *_: None):
            signal.signal(signal.SIGTERM, mine)
            assert fork_and_end() == 3
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


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
