"""`jobkit worker --processes N`: a process that keeps N workers running, and runs no job itself."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import signal
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from jobkit.worker.child import Child
from jobkit.worker.health import STALE, Health
from jobkit.worker.notify import VARIABLES
from jobkit.worker.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from jobkit.worker.probes import Beacons

log = logging.getLogger("jobkit.worker")

TURN: Final = 1.0
"""Seconds between two looks at the children while nothing happens."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds before a dead child is started again: after its first death, and at most."""
SETTLED: Final = 60.0
"""Seconds of life after which a child's death counts as its first again."""
DRAINED: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2


class Slot:
    """The place of one worker: who has it, and when it is filled again."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.child: Child | None = None
        self.due = 0.0
        self._patience = Patience(chance, first=FIRST_PAUSE, longest=LONGEST_PAUSE)

    def vacate(self, lived: float, now: float) -> float:
        """Its child died after so many seconds; the seconds until the next is started."""
        self.child = None
        if lived >= SETTLED:
            self._patience.reset()
        pause = self._patience.wait()
        self.due = now + pause
        return pause


class Supervisor:
    """Keeps the slots filled until a signal ends it. One thread: `run` waits for signals, children and due times.

    The first child goes ahead, and the others follow once it claims: what is wrong with the app or the settings is
    told once. A child that ends with 2, wrong usage, ends them all; any other death is followed by a pause and another
    child. SIGHUP replaces the children one after another, each by one that claims already; but where it says that the
    terminal is gone, it ends them, as it does any program of a terminal.
    """

    def __init__(
        self,
        processes: int,
        command: Sequence[str],
        beacons: Beacons,
        environ: Mapping[str, str],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._command = command
        self._beacons = beacons
        self._environ = {key: value for key, value in environ.items() if key not in VARIABLES}
        self._slots = [Slot(chance) for _ in range(processes)]
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._signals: deque[int] = deque()
        self._proven = False
        self._rolling: deque[Slot] = deque()
        self._heir: Child | None = None
        self._retiring: Child | None = None
        self._stopping = False
        self._hurried = False
        self._code = DRAINED
        self._of_terminal = _has_terminal()
        self._looked = time.monotonic()

    def run(self) -> int:
        """Supervise; the exit code: 0 drained on request, 1 a child failed at the end or was killed, 2 wrong usage."""
        with self._selector, self._wakeup() as wakeup:
            self._selector.register(wakeup, selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                if now - self._looked > STALE:
                    # It was this process that was stopped or starved: what they said meanwhile has yet to be read.
                    for child in self._children:
                        child.forgive(now)
                self._looked = now
                self._turn(now)
                if self._stopping and not self._children:
                    break
                self._selector.select(self._wait(time.monotonic()))
                with contextlib.suppress(BlockingIOError):
                    wakeup.recv(4096)
        log.info("supervisor ended", extra={"exit_code": self._code})
        return self._code

    def _turn(self, now: float) -> None:
        """Look at everything once."""
        while self._signals:
            self._obey(self._signals.popleft(), now)
        for child in list(self._children):
            if not child.mute and not child.hear(now):
                self._selector.unregister(child)
            if (code := child.ended()) is not None:
                self._children.remove(child)
                self._bury(child, code, now)
            elif (why := child.overdue(now)) is not None and child.killed is None:
                log.error("killing a worker process", extra={"worker_pid": child.pid, "why": why})
                child.kill(why)
        if not self._stopping:
            self._proven = self._proven or any(child.state == "claiming" for child in self._children)
            self._roll(now)
            self._fill(now)
        self._beacons.show_health(self._health(now))

    def _fill(self, now: float) -> None:
        """Start a child in each slot that waits for one."""
        for slot in self._waiting():
            if now >= slot.due:
                slot.child = self._start(now)
                if slot.child is None:
                    slot.vacate(0.0, now)

    def _waiting(self) -> list[Slot]:
        """The slots that want a child; the first alone, until one child has claimed."""
        return [each for each in (self._slots if self._proven else self._slots[:1]) if each.child is None]

    def _start(self, now: float) -> Child | None:
        try:
            child = Child(self._command, self._environ, now)
        except OSError as error:
            log.error("cannot start a worker process", extra={"error": str(error)})  # noqa: TRY400 - the system refused
            return None
        self._children.append(child)
        self._selector.register(child, selectors.EVENT_READ)
        log.info("worker process started", extra={"worker_pid": child.pid})
        return child

    def _bury(self, child: Child, code: int, now: float) -> None:
        """Draw the consequences of a child's end."""
        if not child.mute:
            self._selector.unregister(child)
        child.close()
        fields = {"worker_pid": child.pid, "ended": _words(code), "lived_s": round(now - child.started, 1)}
        slot = next((each for each in self._slots if each.child is child), None)
        if child is self._retiring:
            self._retiring = None
        if child is self._heir:
            self._heir = None
            self._rolling.clear()
            log.error("the rolling restart is given up: the new worker process ended", extra=fields)
        elif child.asked:
            good = child.killed is None and code in (DRAINED, -signal.SIGTERM)
            if not good and self._stopping:
                self._code = self._code or FAILED
            log.log(logging.INFO if good else logging.ERROR, "worker process ended", extra=fields)
        elif code == WRONG_USE:
            log.critical("a worker process ended for wrong usage or configuration: all end", extra=fields)
            self._code = WRONG_USE
            self._stop(now)
        elif slot is not None:
            pause = slot.vacate(now - child.started, now)
            level = logging.INFO if code == DRAINED else logging.ERROR
            log.log(level, "worker process ended; starting another", extra={**fields, "pause_s": round(pause, 1)})

    def _obey(self, number: int, now: float) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP and not (self._of_terminal and not _has_terminal()):
            if not self._stopping:
                log.info("signal: replacing the worker processes", extra={"signal": name})
                self._retire(self._heir, now)
                self._heir = None
                self._rolling = deque(self._slots)
        elif not self._stopping:
            log.info("signal: the worker processes drain", extra={"signal": name})
            self._stop(now)
        elif not self._hurried:
            log.info("signal: the worker processes put back what they run", extra={"signal": name})
            self._hurried = True
            for child in self._children:
                child.hurry(now)

    def _stop(self, now: float) -> None:
        self._stopping = True
        self._rolling.clear()
        self._heir = None
        for child in self._children:
            child.ask(now)

    def _retire(self, child: Child | None, now: float) -> None:
        if child is not None and child in self._children:
            self._retiring = child
            child.ask(now)

    def _roll(self, now: float) -> None:
        """Replace the next child: start its heir, wait until that claims, have the old one drain and leave."""
        if self._retiring is not None or not self._rolling:
            return
        slot = self._rolling[0]
        if slot.child is None:  # it died: its successor, from here or from `_fill`, is a new one anyway
            slot.child, self._heir = self._heir, None
            self._rolling.popleft()
        elif self._heir is None:
            self._heir = self._start(now)
            if self._heir is None:
                self._rolling.clear()
        elif self._heir.state == "claiming":
            old, slot.child, self._heir = slot.child, self._heir, None
            self._rolling.popleft()
            self._retire(old, now)

    def _health(self, now: float) -> Health:
        """How it stands; ready when every slot's child claims, alive when none of the children is silent."""
        silent = [child for child in self._children if not child.fresh(now)]
        claiming = sum(slot.child is not None and slot.child.state == "claiming" for slot in self._slots)
        ready = claiming == len(self._slots) and not self._stopping
        words = [f"{claiming} of {len(self._slots)} processes claim"]
        if self._stopping:
            words = [f"{len(self._children)} of {len(self._slots)} processes drain"]
        states = [slot.child.state if slot.child else "absent" for slot in self._slots]
        for state in ("starting", "waiting", "draining", "absent"):
            if not self._stopping and state in states:
                words.append(f"{states.count(state)} {state}")
        words += [f"process {child.pid} silent for {child.silent(now):.0f} s" for child in silent]
        return Health(ready and not silent, live=not silent, stopping=self._stopping, reason=", ".join(words))

    def _wait(self, now: float) -> float:
        """Seconds until the next look, when nothing happens before."""
        dues = [] if self._stopping else [slot.due for slot in self._waiting()]
        deadlines = [child.deadline for child in self._children if child.killed is None]
        return min([TURN, *(max(0.0, when - now) for when in (*dues, *deadlines))])

    def _note(self, number: int, _: object) -> None:
        """The handler. A dead child needs none, but only signals that have one wake the selector."""
        if number != signal.SIGCHLD:
            self._signals.append(number)

    @contextlib.contextmanager
    def _wakeup(self) -> Generator[socket.socket]:
        """Signals as something to wait for; a handler only notes which came."""
        reader, writer = socket.socketpair()
        reader.settimeout(0)
        writer.settimeout(0)
        with reader, writer:
            signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(each, self._note)
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
                signal.signal(signal.SIGHUP, self._note)
            try:
                yield reader
            finally:
                signal.set_wakeup_fd(-1)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:  # most of the kernel's real-time signals have no name
        return f"signal {-code}"
