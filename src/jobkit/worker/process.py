"""The worker's side of process isolation: one child process, from its start to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import signal
import threading
import time
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

from jobkit.errors import ConfigurationError, JobkitError
from jobkit.worker.answers import Answer, Ready, Refused, open_error
from jobkit.worker.isolated import serve
from jobkit.worker.memory import peak_of, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobkit.store.records import Claimed

log = logging.getLogger("jobkit.worker")

METHOD: Final = "forkserver"
FIRST_LOOK: Final = 0.05
LAST_LOOK: Final = 1.0
"""Seconds between two looks at a child's memory: soon at first, since a job that takes too much does so quickly."""
READY: Final = 300.0
"""Seconds that a child has to open its container."""
LEAVING: Final = 0.8
"""Seconds that a child has to close its container."""
HARD: Final = 2
"""How many times `max_memory` kills a child."""


class NotStarted(JobkitError):
    """A child process could not take jobs; `cause` is what it raised, where it raised something."""

    def __init__(self, text: str, cause: BaseException | None = None) -> None:
        super().__init__(text)
        self.cause = cause


class Nursery:
    """Starts child processes through multiprocessing's fork server, which has imported what they share.

    Raises ConfigurationError where the platform has none.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        if METHOD not in get_all_start_methods():
            raise ConfigurationError(
                "isolation='process': expected a platform with a fork server (Linux, macOS), which this one has not; "
                "take isolation='thread' here"
            )
        self._context = get_context(METHOD)
        self._context.set_forkserver_preload(list(modules))
        # multiprocessing looks after all processes whenever one is started, and a state is read once.
        self.gate = threading.Lock()

    def start(self, packed: bytes) -> tuple[Any, Any, Any]:
        """A process that serves, our end of its channel, and our end of its leash."""
        ours, theirs = self._context.Pipe()
        leash, held = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=serve, args=(theirs, leash, packed), name="jobkit-isolated", daemon=False
        )
        try:
            with theirs, leash, self.gate:
                process.start()
        except BaseException:
            ours.close()
            held.close()
            raise
        return process, ours, held


class JobProcess:
    """One child. A thread owns it, and others may kill it.

    Attributes:
        peak: the memory that it was seen to take at most, in bytes; None when nothing was seen.
        jobs: how many it has run.
        busy: whether it has something in hand: its start, or an attempt.
        overgrown: whether it was killed for its memory.

    """

    def __init__(self, nursery: Nursery, packed: bytes, *, max_memory: int | None) -> None:
        self._gate = nursery.gate
        self._process, self._channel, self._held = nursery.start(packed)
        # Kept, since making one for each job costs as much as the rest of the exchange.
        self._poll = select.poll()
        self._poll.register(self._channel.fileno(), select.POLLIN)
        self._poll.register(self._process.sentinel, select.POLLIN)
        self._hard = None if max_memory is None else HARD * max_memory
        self._dead = False
        self._orphan = False
        self._grouped = False
        self.pid: int = self._process.pid
        self.peak: int | None = None
        self.jobs = 0
        self.busy = True
        self.overgrown = False

    def await_ready(self) -> None:
        """Wait until it takes jobs; NotStarted when it does not."""
        answer = self._receive(time.monotonic() + READY)
        if isinstance(answer, Ready):
            self._grouped, self.busy = True, False
            self.peak = answer.peak
            return
        if isinstance(answer, Refused):
            self.discard()
            raise NotStarted(answer.text, open_error(answer.raised, answer.text))
        late = "" if self._has_ended() else f" within {READY:g} s"
        self.discard()
        raise NotStarted(f"a child process did not get ready{late}: it {self.ending()}")

    def give(self, claimed: Claimed) -> bool:
        """Let it begin an attempt; False when it had died, and has begun nothing."""
        self.busy = True
        try:
            self._channel.send_bytes(pickle.dumps(claimed))
        except OSError:
            return False
        return True

    def answer(self) -> Answer | None:
        """Wait for the attempt's end; None when the child died."""
        answer = self._receive(None)
        self.busy = False
        self.jobs += 1
        if isinstance(answer, Answer):
            self._saw(answer.peak)
            return answer
        return None

    def kill(self) -> None:
        """End it, and the programs that its job has started; from any thread."""
        if self._dead:
            return
        with contextlib.suppress(ProcessLookupError):
            if not self._grouped:
                os.kill(self.pid, signal.SIGKILL)
            os.killpg(self.pid, signal.SIGKILL)

    def leave(self) -> None:
        """Let it close its container and end; killed when that takes too long."""
        self._channel.close()
        if not wait([self._process.sentinel], LEAVING):
            log.warning("a child process does not end; killing it", extra={"child_pid": self.pid, "waited_s": LEAVING})
        self.discard()

    def discard(self) -> None:
        """See that it has ended, and let go of it."""
        if not self._dead:
            self.kill()
            wait([self._process.sentinel], LAST_LOOK)
            with self._gate:
                self._process.join(0)
            self._dead = True
        self._channel.close()
        self._held.close()

    def ending(self) -> str:
        """How it ended, and how much memory it had taken."""
        with self._gate:
            code: int | None = self._process.exitcode
        return f"{_words(code, unknown=self._orphan)}; its peak memory was {told(self.peak)}"

    def _receive(self, deadline: float | None) -> object:
        """What it says; None when it died, or the deadline came."""
        pause = FIRST_LOOK
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(pause * 1000)]
            if self._channel.fileno() in ready:
                try:
                    said: object = pickle.loads(self._channel.recv_bytes())  # noqa: S301 - our own child
                except (EOFError, OSError):  # also in the middle of a word
                    return None
                return said
            if ready and self._has_ended():
                return None
            if deadline is not None and time.monotonic() > deadline:
                return None
            self._look()
            pause = min(2 * pause, LAST_LOOK)

    def _look(self) -> None:
        self._saw(peak_of(self.pid))
        if self._hard is not None and self.peak is not None and self.peak > self._hard and not self.overgrown:
            self.overgrown = True
            self.kill()

    def _saw(self, peak: int | None) -> None:
        if peak is not None:
            self.peak = max(peak, self.peak or 0)

    def _has_ended(self) -> bool:
        """Whether it is gone. Of the death of the fork server, it tells the same as of the child's."""
        if self._orphan:
            return not _lives(self.pid)
        if not wait([self._process.sentinel], 0):
            return False
        if _lives(self.pid):
            self._orphan = True
            self._poll.unregister(self._process.sentinel)
            return False
        return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's by now
        return False
    return True


def _words(code: int | None, *, unknown: bool) -> str:
    if code is None or unknown:
        return "ended, nobody knows how"
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (the kernel sends it where memory runs out)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
