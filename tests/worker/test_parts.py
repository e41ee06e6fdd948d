"""The contract of background parts, the same test for each of them."""

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobkit.errors import StoreUnavailable
from jobkit.store.records import Batch
from jobkit.store.sweeps import SweepReport
from jobkit.worker.ahead import GiveBack
from jobkit.worker.commands import CommandListener, Heartbeat
from jobkit.worker.fetcher import Fetcher
from jobkit.worker.finisher import Finisher
from jobkit.worker.held import Held
from jobkit.worker.hooks import Hooks
from jobkit.worker.lease import LeaseKeeper
from jobkit.worker.loop_executor import LoopExecutor
from jobkit.worker.parts import Part, Ticker
from jobkit.worker.peek import Peeker
from jobkit.worker.slots import Slots
from jobkit.worker.sweep import Sweeper
from jobkit.worker.thread_executor import ThreadExecutor
from jobkit.worker.watchdog import Watchdog


class FakeChannel:
    """A channel to which no job ever comes."""

    def __init__(self) -> None:
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def claim(self, wants: Any, *, block: float) -> Batch:
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=block)
        return Batch([], [], None)

    def advance(self, finished: Any, wants: Any) -> Batch:
        return Batch([], [], None)

    def interrupt(self) -> None:
        self._bell.put(None)

    def close(self) -> None:
        pass


class FakeClaims:
    def channel(self, name: str) -> FakeChannel:
        return FakeChannel()


class FakeKeeper:
    dark = False


class FakeDispatch:
    closed = False
    keeper = FakeKeeper()

    def __init__(self) -> None:
        self.outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.threads = ThreadExecutor(nothing, slots=1, on_end=nothing)  # type: ignore[arg-type]

    def hand_out(self, claimed: Any, *, asked: float) -> dict[str, int]:
        return {}

    def look(self) -> None:
        pass


def no_commands(*, poll: float) -> Iterator[None]:
    """Be a channel on which no command comes."""
    while True:
        yield None


def nothing(*_: Any) -> None:
    """Do nothing."""


def finisher(crash: Callable[[str], None]) -> Part:
    """Make a finisher that has nothing to record."""
    hooks = Hooks(None, None, on_crash=crash)
    fakes: Any = (FakeClaims(), Slots({"q": 1}), FakeDispatch(), Held(), hooks)
    return Finisher(*fakes, on_freed=nothing, on_stuck=nothing, on_crash=crash)


def fetcher(crash: Callable[[str], None]) -> Part:
    """Make a fetcher to which no job comes."""
    channel: Any = FakeChannel()
    dispatch: Any = FakeDispatch()
    return Fetcher(channel, Slots({"q": 1}), dispatch, on_crash=crash)


PARTS: dict[str, Callable[[Callable[[str], None]], Any]] = {
    "ticker": lambda crash: Ticker("t", lambda: 0.0, patience=0.01, on_crash=crash),
    "watchdog": lambda crash: Watchdog(grace=1, on_give_up=nothing, on_crash=crash),
    "hooks": lambda crash: Hooks(None, None, on_crash=crash),
    "keeper": lambda crash: LeaseKeeper(Held(), lambda _: set(), lease=1, on_lost=nothing, on_crash=crash),
    "sweeper": lambda crash: Sweeper(SweepReport, on_crash=crash),
    "peeker": lambda crash: Peeker(lambda: 0, on_crash=crash),
    "heartbeat": lambda crash: Heartbeat(nothing, lambda: False, on_crash=crash),
    "commands": lambda crash: CommandListener(no_commands, nothing, on_crash=crash),  # type: ignore[arg-type]
    "fetcher": fetcher,
    "finisher": finisher,
    "give-back": lambda crash: GiveBack(nothing, on_crash=crash),
    "threads": lambda crash: ThreadExecutor(nothing, slots=2, on_end=nothing),  # type: ignore[arg-type]
    "loop": lambda crash: LoopExecutor(nothing, slots=2, on_end=nothing),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", PARTS)
def test_start_stop_join(name: str) -> None:
    """A part starts once, stops however often and from wherever it is asked, and ends; it never crashes."""
    crashed: list[str] = []
    before = threading.active_count()
    for n in range(20):
        part = PARTS[name](crashed.append)
        assert part.join(0)
        part.start()
        stoppers = [threading.Thread(target=part.stop) for _ in range(n % 3 + 1)]
        for each in stoppers:
            each.start()
        for each in stoppers:
            each.join(10)
        part.stop()
        assert part.join(10)
    assert crashed == []
    assert threading.active_count() == before


@pytest.mark.parametrize("name", PARTS)
def test_stop_before_start(name: str) -> None:
    """A part that was stopped before its start never begins."""
    part = PARTS[name](pytest.fail)
    part.stop()
    part.start()
    assert part.join(10)


@pytest.mark.parametrize("name", [name for name in PARTS if name != "threads"])
def test_a_second_start_is_refused(name: str) -> None:
    """A part is started once; a second start says so."""
    part = PARTS[name](pytest.fail)
    part.start()
    with pytest.raises(RuntimeError, match="expected one start"):
        part.start()
    part.stop()
    assert part.join(10)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_crash_is_told(error: type[BaseException]) -> None:
    """A part whose body raises is over, and whoever made it is told its name."""

    class Broken(Part):
        def _body(self) -> None:
            raise error

    crashed: queue.SimpleQueue[str] = queue.SimpleQueue()
    part = Broken("broken", on_crash=crashed.put)
    part.start()
    assert crashed.get(timeout=10) == "broken"
    assert part.join(10)


def test_a_ticker_survives_its_errors(lines: Any) -> None:
    """A tick that raises is logged and comes again; an absent server is told once an outage."""
    answers: list[Any] = [StoreUnavailable("away"), StoreUnavailable("away"), ZeroDivisionError(), 0.0]
    numbers, done = itertools.count(), threading.Event()

    def tick() -> float:
        n = next(numbers)
        if n >= len(answers):
            done.set()
            return 60.0
        if isinstance(answers[n], Exception):
            raise answers[n]
        return float(answers[n])

    ticker = Ticker("t", tick, patience=0.0, on_crash=pytest.fail)
    ticker.start()
    assert done.wait(10)
    ticker.stop()
    assert ticker.join(10)
    assert lines.messages() == [
        "the server did not answer; trying again",
        "a tick failed; trying again",
    ]


def test_candidates_bid_less_often_beside_many() -> None:
    """A worker that is not elected bids once a second; many bid ten times a second together, and not in step."""
    answers = iter([0, 2, 10, 500, 500])
    peeker = Peeker(lambda: next(answers), on_crash=nothing)  # type: ignore[arg-type]
    assert [peeker.tick() for _ in range(2)] == [0.04, 1.0]
    assert 1.0 <= peeker.tick() <= 1.5
    assert peeker.tick() == 10.0
    peeker = Peeker(lambda: 50, on_crash=nothing)  # type: ignore[arg-type]
    waits = {peeker.tick() for _ in range(50)}
    assert len(waits) > 25
    assert 2.5 <= min(waits) <= max(waits) <= 7.5
