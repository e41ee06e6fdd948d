"""What the supervisor decides, turn by turn, with children and a clock of the test's."""

import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jobkit
from jobkit.cli.worker import _this_program
from jobkit.config import Settings
from jobkit.processors import load_processors
from jobkit.queues import QueueSet, QueueSpec
from jobkit.store import Store
from jobkit.worker import supervisor as module
from jobkit.worker.health import Health
from jobkit.worker.supervisor import Slot, Supervisor
from jobkit.worker.worker import Worker


class FakeChild:
    """Stands for a process: the test says what it does."""

    def __init__(self, command: Any, environ: Any, now: float) -> None:
        self._ends = socket.socketpair()
        self.pid = 0
        self.environ = environ
        self.started = now
        self.state = "starting"
        self.code: int | None = None
        self.asked = self.hurried = self.mute = False
        self.killed: str | None = None
        self.quiet: str | None = None
        self.forgiven: float | None = None
        self.deadline = float("inf")

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def hear(self, now: float) -> bool:
        return True

    def ended(self) -> int | None:
        return self.code

    def fresh(self, now: float) -> bool:
        return self.quiet is None

    def silent(self, now: float) -> float:
        return 9.0 if self.quiet else 0.0

    def overdue(self, now: float) -> str | None:
        return self.quiet

    def ask(self, now: float) -> None:
        self.asked = True

    def hurry(self, now: float) -> None:
        self.hurried = True

    def kill(self, why: str) -> None:
        self.killed, self.code = why, -signal.SIGKILL

    def close(self) -> None:
        for end in self._ends:
            end.close()


class World:
    """A supervisor whose turns the test takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
        self.made: list[FakeChild] = []
        self.shown: list[Health] = []
        self.refuse = False
        self.now = 1000.0
        monkeypatch.setattr(module, "Child", self._make)
        beacons: Any = self
        self.it = Supervisor(processes, ["x"], beacons, {"NOTIFY_SOCKET": "/s", "A": "1"}, chance=lambda: 1.0)
        self.turn(0)

    def _make(self, command: Any, environ: Any, now: float) -> FakeChild:
        if self.refuse:
            raise OSError("no more processes")
        self.made.append(FakeChild(command, environ, now))
        return self.made[-1]

    def show_health(self, health: Health) -> None:
        self.shown.append(health)

    def turn(self, after: float = 0.001) -> list[FakeChild]:
        """Take a turn; the children that it started."""
        before = len(self.made)
        self.now += after
        self.it._turn(self.now)
        return self.made[before:]

    def signal(self, number: int) -> None:
        self.it._note(number, None)
        self.turn()

    def settle(self) -> list[FakeChild]:
        """Have all children claim."""
        while started := [each for each in self.made if each.code is None and each.state == "starting"]:
            for each in started:
                each.state = "claiming"
            self.turn()
        return [each for each in self.made if each.code is None]

    def close(self) -> None:
        self.it._selector.close()
        for each in self.made:
            each.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Make worlds."""
    made: list[World] = []

    def make(processes: int = 2) -> World:
        made.append(World(monkeypatch, processes))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_pauses_double_up_to_a_limit() -> None:
    """A slot's pauses go from 1 s to 30 s, and begin anew after a child that lived for a minute."""
    slot = Slot(lambda: 1.0)
    assert [slot.vacate(59.0, 0.0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert slot.vacate(60.0, 100.0) == 1
    assert slot.due == 101.0
    assert slot.vacate(0.0, 0.0) == 2


def test_pauses_are_shortened_by_chance() -> None:
    """Chance takes half of a pause at most, so that children which died together do not start together."""
    chance = random.Random(7).random  # noqa: S311 - no secret
    pauses = [Slot(chance).vacate(0.0, 0.0) for _ in range(200)]
    assert min(pauses) >= 0.5
    assert max(pauses) <= 1.0
    assert len(set(pauses)) == 200


def test_the_first_child_goes_ahead(world: Callable[..., World]) -> None:
    """Until one child claims, only one is started, and only one is started again."""
    w = world(3)
    assert len(w.made) == 1
    w.made[0].code = 1
    assert w.turn() == []
    assert w.turn(0.9) == []
    [second] = w.turn(0.2)
    second.state = "claiming"
    assert len(w.turn()) == 2
    assert len(w.settle()) == 3
    assert w.shown[-1] == Health(ready=True, live=True, stopping=False, reason="3 of 3 processes claim")


def test_the_service_s_variables_stay_here(world: Callable[..., World]) -> None:
    """A child's environment is the supervisor's, without what systemd told that one alone."""
    assert world().made[0].environ == {"A": "1"}


@pytest.mark.parametrize("how", [1, -signal.SIGSEGV, -40], ids=["exit", "signal", "a signal without a name"])
def test_a_death_is_followed_by_a_pause(world: Callable[..., World], how: int) -> None:
    """A child's place is filled after its pause; the others go on."""
    w = world()
    first, second = w.settle()
    first.code = how
    w.turn()
    assert w.shown[-1].reason == "1 of 2 processes claim, 1 absent"
    assert not w.shown[-1].ready
    assert w.shown[-1].live
    assert w.it._wait(w.now) == pytest.approx(1.0)
    assert len(w.turn(1.1)) == 1
    assert not second.asked


def test_a_refusal_of_the_system_is_a_death(world: Callable[..., World]) -> None:
    """Where no process can be started, it is tried again after the pause."""
    w = world()
    first, _ = w.settle()
    first.code, w.refuse = 1, True
    w.turn()
    assert w.turn(1.1) == []
    w.refuse = False
    assert w.turn(1.9) == []
    assert len(w.turn(0.2)) == 1


def test_wrong_use_ends_all(world: Callable[..., World]) -> None:
    """When a child ends with 2 the others drain, and the code is 2 whatever becomes of them."""
    w = world()
    first, second = w.settle()
    first.code = 2
    w.turn()
    assert second.asked
    assert w.shown[-1].stopping
    second.kill("why")
    assert w.turn() == []
    assert w.it._code == 2


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (-signal.SIGTERM, 0), (1, 1), (-signal.SIGKILL, 1), (2, 1)])
def test_the_last_code(world: Callable[..., World], code: int, expected: int) -> None:
    """0 when every child left as it was asked, also one that had not begun; else 1."""
    w = world()
    first, second = w.settle()
    w.signal(signal.SIGTERM)
    assert first.asked
    assert second.asked
    first.code, second.code = code, 0
    w.turn()
    assert w.it._code == expected
    assert w.it._children == []


def test_the_second_signal_hurries(world: Callable[..., World]) -> None:
    """The first signal asks, the second hurries, later ones and SIGHUP change nothing."""
    w = world()
    children = w.settle()
    w.signal(signal.SIGINT)
    assert [each.hurried for each in children] == [False, False]
    w.signal(signal.SIGHUP)
    w.signal(signal.SIGTERM)
    assert [each.hurried for each in children] == [True, True]
    w.signal(signal.SIGTERM)
    assert len(w.made) == 2


def test_a_silent_child_shows_and_is_killed(world: Callable[..., World]) -> None:
    """Silence is told as not live and not ready; past its patience the child is killed, once, and replaced."""
    w = world()
    hung, _ = w.settle()
    hung.quiet = "silent for 30 s"
    w.it._beacons.show_health(w.it._health(w.now))
    assert not w.shown[-1].live
    assert not w.shown[-1].ready
    assert w.shown[-1].reason == "2 of 2 processes claim, process 0 silent for 9 s"
    w.turn()
    assert hung.killed == "silent for 30 s"
    w.turn()
    assert w.shown[-1].live
    assert len(w.turn(1.1)) == 1


def test_rolling_goes_one_by_one(world: Callable[..., World]) -> None:
    """An heir is started, claims, and only then the old one drains; the next follows when that has left."""
    w = world()
    first, second = w.settle()
    w.shown.clear()
    w.signal(signal.SIGHUP)
    heir = w.made[2]
    w.turn()
    assert not first.asked
    heir.state = "claiming"
    assert w.turn() == []
    assert first.asked
    assert not second.asked
    first.code = 0
    [other] = w.turn()
    other.state = "claiming"
    w.turn()
    assert second.asked
    second.code = 0
    assert w.turn() == []
    assert w.it._children == [heir, other]
    assert all(each.ready for each in w.shown)


def test_a_failed_heir_ends_the_rolling(world: Callable[..., World]) -> None:
    """When the new child does not come up, even for wrong use, the old ones stay and all is as before."""
    w = world()
    first, second = w.settle()
    w.signal(signal.SIGHUP)
    w.made[2].code = 2
    assert w.turn() == []
    assert not w.it._stopping
    assert [first.asked, second.asked] == [False, False]
    w.signal(signal.SIGHUP)
    assert len(w.made) == 4


def test_an_heir_takes_a_dead_child_s_place(world: Callable[..., World]) -> None:
    """A child that dies while its heir starts is followed by that one, and by no other."""
    w = world()
    first, _ = w.settle()
    w.signal(signal.SIGHUP)
    heir = w.made[2]
    first.code = 1
    assert w.turn() == []
    assert w.it._slots[0].child is heir
    assert len(w.turn(1.1)) == 1
    assert w.it._slots[0].child is heir


def test_a_terminal_that_goes_ends_all(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP from a terminal that is closed drains, as it ends any program that was started there."""
    w = world()
    children = w.settle()
    w.it._of_terminal = True
    monkeypatch.setattr(module, "_has_terminal", lambda: False)
    w.signal(signal.SIGHUP)
    assert [each.asked for each in children] == [True, True]
    assert len(w.made) == 2


def test_a_supervisor_costs_the_standard_library() -> None:
    """It loads no Redis client, no event loop, no application, and an HTTP server only where a port is wanted."""
    root = str(Path(jobkit.__file__).parents[1])
    code = f"import sys; sys.path.append({root!r}); import jobkit.worker.supervisor_program; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {each.partition(".")[0] for each in told.stdout.split()}
    assert "jobkit" in loaded
    assert loaded.isdisjoint({"redis", "pydantic", "attrs", "click", "rich", "asyncio", "http"})


def test_sighup_while_rolling_begins_anew(world: Callable[..., World]) -> None:
    """A second SIGHUP sends the heir away, which may hang, and replaces all once more."""
    w = world()
    w.settle()
    w.signal(signal.SIGHUP)
    heir = w.made[2]
    w.signal(signal.SIGHUP)
    assert heir.asked
    heir.code = -signal.SIGTERM
    assert len(w.turn()) == 1


def test_a_supervised_worker_is_not_hurried_by_many() -> None:
    """SIGTERM may come from the service manager and the supervisor both: it drains; only SIGINT puts back."""
    queues = QueueSet([QueueSpec("q")])
    worker = Worker(Store.open("unix:///none"), Settings(redis_url="unix:///none"), queues, load_processors([]))
    worker._supervised = True
    worker._on_signal(signal.SIGTERM, None)
    worker._on_signal(signal.SIGTERM, None)
    assert not worker._hurry.is_set()
    worker._on_signal(signal.SIGINT, None)
    assert worker._hurry.wait(10)


@pytest.mark.parametrize(
    ("given", "started", "expected"),
    [
        (
            ["/bin/jobkit", "worker", "q"],
            ["python", "-X", "dev", "/bin/jobkit", "worker", "q"],
            ["-X", "dev", "/bin/jobkit"],
        ),
        (["/x/__main__.py", "worker"], ["python", "-m", "jobkit", "worker"], ["-m", "jobkit"]),
        (["manage.py", "jobs", "worker"], ["python", "manage.py", "jobs", "worker"], ["-m", "jobkit"]),
    ],
)
def test_children_start_as_this_program_did(
    given: list[str], started: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same Python and its options, by the same script; inside another program by `-m jobkit`."""
    monkeypatch.setattr(sys, "argv", given)
    monkeypatch.setattr(sys, "orig_argv", started)
    assert _this_program() == [sys.executable, *expected]
