"""Asynchronous exceptions: they land in the attempt they were meant for, or nowhere."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from jobkit.errors import Interruption, JobStopped, JobTimeout
from jobkit.worker.fence import TaskFence, ThreadFence


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Let threads alternate often, so that races happen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    yield
    sys.setswitchinterval(before)


def test_an_interruption_ends_the_function(spin: Callable[[threading.Event], None]) -> None:
    """A running function is interrupted with the given exception, once."""
    fence, entered, caught = ThreadFence(), threading.Event(), []

    def body() -> None:
        entered.set()
        spin(threading.Event())

    def thread() -> None:
        try:
            fence.run(body)
        except Interruption as error:
            caught.append(type(error))

    runner = threading.Thread(target=thread)
    assert not fence.interrupt(JobTimeout)
    runner.start()
    assert entered.wait(10)
    assert fence.interrupt(JobTimeout)
    assert not fence.interrupt(JobStopped)
    runner.join(10)
    assert caught == [JobTimeout]
    assert not fence.interrupt(JobTimeout)


def test_what_the_function_does_comes_through() -> None:
    """Values, errors and exits pass the fence unchanged, and nothing can be sent afterwards."""
    fence = ThreadFence()
    assert fence.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        ThreadFence().run(divmod, 7, 0)
    with pytest.raises(SystemExit):
        ThreadFence().run(sys.exit, 3)
    assert not fence.interrupt(JobTimeout)


def test_a_swallowed_interruption_does_not_leak() -> None:
    """A function that swallows the exception and returns has completed; its thread is clean afterwards."""
    fence, entered, results = ThreadFence(), threading.Event(), []

    def body() -> str:
        try:
            entered.set()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                pass
        except BaseException:  # noqa: BLE001 - the point of the test
            return "swallowed"
        return "never interrupted"

    def thread() -> None:
        results.append(fence.run(body))
        results.append(sum(range(10_000)))

    runner = threading.Thread(target=thread)
    runner.start()
    assert entered.wait(10)
    assert fence.interrupt(JobTimeout)
    runner.join(10)
    assert results == ["swallowed", 49995000]


def test_no_interruption_leaks_into_the_next_attempt(quick_switches: None) -> None:  # noqa: C901 - one race
    """Two thousand interruptions that race the end of their attempt: each lands inside it, or nowhere."""
    rounds, leaked, counts = 2000, [], {"interrupted": 0, "completed": 0}
    current: list[tuple[ThreadFence, float]] = []
    done = threading.Event()

    def body(end: float) -> None:
        while time.perf_counter() < end:
            pass

    def thread() -> None:
        try:
            for n in range(rounds):
                fence, end = ThreadFence(), time.perf_counter() + 0.0002
                current[:] = [(fence, end - 0.00001 + (n % 5) * 0.000005)]
                try:
                    fence.run(body, end)
                    counts["completed"] += 1
                except JobTimeout:
                    counts["interrupted"] += 1
                for _ in range(20):
                    time.perf_counter()
        except BaseException as error:  # noqa: BLE001 - the point of the test
            leaked.append(error)
        done.set()

    runner = threading.Thread(target=thread)
    runner.start()
    while not done.is_set():
        for fence, when in current[:]:
            if time.perf_counter() >= when:
                fence.interrupt(JobTimeout)
    runner.join(10)
    assert leaked == []
    assert counts["completed"] + counts["interrupted"] == rounds
    assert counts["interrupted"] > 0


def test_a_masked_stretch_is_left_whole() -> None:
    """While the fence is masked nothing is sent; once it is open again, the next try succeeds."""
    fence, masked, go, caught = ThreadFence(), threading.Event(), threading.Event(), []

    def body() -> None:
        assert fence.mask()
        masked.set()
        assert go.wait(10)
        fence.unmask()
        while True:
            pass

    def thread() -> None:
        try:
            fence.run(body)
        except JobStopped:
            caught.append("stopped")

    runner = threading.Thread(target=thread)
    runner.start()
    assert masked.wait(10)
    assert not fence.interrupt(JobStopped)
    go.set()
    while not fence.interrupt(JobStopped):
        assert runner.is_alive()
    runner.join(10)
    assert caught == ["stopped"]


def test_a_swallowed_interruption_comes_back_at_the_next_call() -> None:
    """An attempt that swallowed its interruption gets it again when it next talks to the server."""
    fence, entered, caught = ThreadFence(), threading.Event(), []

    def body() -> None:
        try:
            entered.set()
            while True:
                pass
        except BaseException:  # noqa: BLE001 - the point of the test
            caught.append("swallowed")
        fence.mask()

    def thread() -> None:
        try:
            fence.run(body)
        except JobTimeout:
            caught.append("again")

    runner = threading.Thread(target=thread)
    runner.start()
    assert entered.wait(10)
    assert fence.interrupt(JobTimeout)
    runner.join(10)
    assert caught == ["swallowed", "again"]


def test_another_thread_is_not_masked() -> None:
    """A thread that the processor started talks to the server without closing the fence of the attempt."""
    fence, answers = ThreadFence(), []

    def body() -> None:
        helper = threading.Thread(target=lambda: answers.append(fence.mask()))
        helper.start()
        helper.join(10)

    fence.run(body)
    assert answers == [False]


def test_a_task_is_cancelled() -> None:
    """The fence of a task cancels it on its loop; before it has begun it says so."""

    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> str:
        fence = TaskFence(asyncio.get_running_loop())
        assert not fence.interrupt(JobTimeout)
        task = asyncio.create_task(forever())
        fence.begin(task)
        threading.Thread(target=fence.interrupt, args=(JobTimeout,)).start()
        try:
            await task
        except asyncio.CancelledError:
            return fence.why.__name__ if fence.why else ""
        return "not cancelled"

    assert asyncio.run(main()) == "JobTimeout"
