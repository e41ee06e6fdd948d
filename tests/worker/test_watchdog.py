"""The watchdog's heap of deadlines."""

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobkit.errors import Interruption, JobStopped, JobTimeout
from jobkit.store.records import Claimed
from jobkit.worker.attempt import Attempt
from jobkit.worker.watchdog import Watchdog, stack_of


class FakeFence:
    """A fence that may be out of reach for a number of tries."""

    def __init__(self, out_of_reach: int = 0) -> None:
        self.why: type[Interruption] | None = None
        self.tries = 0
        self._out_of_reach = out_of_reach
        self.sent: queue.SimpleQueue[type[Interruption]] = queue.SimpleQueue()

    def interrupt(self, why: type[Interruption]) -> bool:
        self.tries += 1
        if self.tries <= self._out_of_reach:
            return False
        self.why = why
        self.sent.put(why)
        return True


def attempt(timeout: float | None = None, fence: FakeFence | None = None) -> tuple[Attempt, FakeFence]:
    """Make a running attempt and its fence."""
    made = Attempt(Claimed("q", "j", "t", b"", b"", None, 0, 1, 0, 0, ""), timeout=timeout)
    fence = fence or FakeFence()
    made.fence = fence
    made.began = time.monotonic()
    return made, fence


@pytest.fixture
def given_up() -> queue.SimpleQueue[Attempt]:
    """Give the attempts that were given up."""
    return queue.SimpleQueue()


@pytest.fixture
def watchdog(given_up: Any) -> Iterator[Watchdog]:
    """Give a running watchdog with a short grace."""
    watchdog = Watchdog(grace=0.02, on_give_up=given_up.put, on_crash=pytest.fail)
    watchdog.start()
    yield watchdog
    watchdog.stop()
    assert watchdog.join(10)


def test_a_deadline_interrupts_and_then_gives_up(watchdog: Watchdog, given_up: Any) -> None:
    """At its deadline an attempt is interrupted; when it goes on for the grace, it is given up."""
    one, fence = attempt(0.01)
    watchdog.watch([one])
    assert fence.sent.get(timeout=10) is JobTimeout
    assert given_up.get(timeout=10) is one


def test_the_nearest_deadline_comes_first(watchdog: Watchdog) -> None:
    """A later attempt with an earlier deadline does not wait for those before it; one without has none."""
    late, early, never = attempt(60.0), attempt(0.01), attempt(None)
    watchdog.watch([late[0], never[0]])
    watchdog.watch([early[0]])
    assert early[1].sent.get(timeout=10) is JobTimeout
    assert late[1].tries == never[1].tries == 0


def test_a_deadline_further_off_than_a_thread_can_wait(watchdog: Watchdog) -> None:
    """A job of another client may bring any timeout: the watchdog goes on, and nearer deadlines come."""
    far, _ = attempt(timeout=1e12)
    near, fence = attempt(timeout=0.01)
    watchdog.watch([far])
    with pytest.raises(queue.Empty):
        fence.sent.get(timeout=0.05)
    watchdog.watch([near])
    assert fence.sent.get(timeout=10) is JobTimeout


def test_an_attempt_out_of_reach_is_tried_again(watchdog: Watchdog) -> None:
    """An attempt that talks to the server is interrupted once it is done with that."""
    one, fence = attempt(fence=FakeFence(out_of_reach=2))
    watchdog.interrupt([one], JobStopped)
    assert fence.sent.get(timeout=10) is JobStopped
    assert fence.tries == 3


def test_an_attempt_is_interrupted_once(watchdog: Watchdog, given_up: Any) -> None:
    """A second reason to interrupt an attempt is dropped."""
    one, fence = attempt()
    watchdog.interrupt([one], JobStopped)
    watchdog.interrupt([one], JobTimeout)
    assert fence.sent.get(timeout=10) is JobStopped
    assert given_up.get(timeout=10) is one
    assert fence.sent.empty()


def test_what_is_over_is_left_alone(watchdog: Watchdog) -> None:
    """An attempt that has ended is not interrupted, and ended ones do not pile up until their deadline."""
    over = [attempt(600.0) for _ in range(5000)]
    for one, _ in over:
        one.over = True
    for one, _ in over:
        watchdog.watch([one])
    assert len(watchdog._heap) < 600
    last, fence = attempt(0.0)
    watchdog.watch([last])
    assert fence.sent.get(timeout=10) is JobTimeout
    assert all(fence.tries == 0 for _, fence in over)


def test_where_a_thread_is() -> None:
    """The stack of a thread that hangs names the line it hangs in; a thread that is gone has none."""
    go, there = threading.Event(), threading.Event()

    def hanging() -> None:
        there.set()
        go.wait(10)

    thread = threading.Thread(target=hanging)
    thread.start()
    assert there.wait(10)
    assert "go.wait(10)" in stack_of(thread.ident)
    go.set()
    thread.join(10)
    assert stack_of(None) == ""
