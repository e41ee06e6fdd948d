"""A worker process as its supervisor sees it."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

from jobkit.worker.health import BEAT, STALE
from jobkit.worker.tie import LAST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobkit.worker.health import State

log = logging.getLogger("jobkit.worker")

DRAIN: Final = 30.0
"""Seconds for draining of a process that has not said yet how many it needs."""
FIRST_WORD: Final = 60.0
"""Seconds until a process has to have said its first word: Python starts, and imports jobkit."""
HURRY: Final = 5.0
"""Seconds for leaving after the second signal."""


class Child:
    """One process, started by making this. Times are seconds of one monotonic clock, passed in as `now`.

    Attributes:
        state: what it said last.
        asked: whether it was told to end.
        killed: why it was killed; None when it was not.
        mute: whether it can say nothing any more: it ended, or closed the socket.

    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], now: float) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(self._socket.close)
            self._process = subprocess.Popen(  # noqa: S603 - this program
                [*command, "--supervised", str(theirs.fileno())],
                env=environ,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # A group of its own: Ctrl-C of a terminal reaches the supervisor alone, which tells its children once.
                process_group=0,
            )
            undo.pop_all()
        self._socket.settimeout(0)
        self._rest = b""
        self._drain = DRAIN
        self._lease: float | None = None
        self._heard = self.started = now
        self._spoke = False
        self._deadline = math.inf
        self.state: State = "starting"
        self.asked = False
        self.killed: str | None = None
        self.mute = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fileno(self) -> int:
        """What a selector waits on for its word."""
        return self._socket.fileno()

    def hear(self, now: float) -> bool:
        """Take what it said since the last time; whether it can say more."""
        try:
            while received := self._socket.recv(65536):
                self._heard, self._spoke = now, True
                *lines, self._rest = (self._rest + received).split(b"\n")
                if lines:
                    self._take(lines[-1])
        except BlockingIOError:
            return True
        except ConnectionError:
            pass
        self.mute = True
        return False

    def _take(self, line: bytes) -> None:
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:  # torn, because nobody read for a while; another comes in a second
            return
        self.state = said["state"]
        self._drain = said.get("drain", self._drain)
        self._lease = said.get("lease", self._lease)

    def ended(self) -> int | None:
        """Its exit code, below 0 for a signal; None while it runs."""
        return self._process.poll()

    def silent(self, now: float) -> float:
        """Seconds since its last word."""
        return now - self._heard

    def fresh(self, now: float) -> bool:
        """Whether its last word is a sign of life, or its first is yet to be waited for."""
        return self.silent(now) < (STALE if self._spoke else FIRST_WORD)

    def forgive(self, now: float) -> None:
        """Count its silence from now on: it was the supervisor that did not listen."""
        self._heard = now

    def ask(self, now: float) -> None:
        """Tell it to drain and end, once."""
        if not self.asked:
            self.asked = True
            self._deadline = now + self._drain + LAST
            self._process.send_signal(signal.SIGTERM)

    def hurry(self, now: float) -> None:
        """Tell it to put back what it runs, and end.

        By a signal that means just this: two of one kind may arrive as one, and others send SIGTERM too.
        """
        self.asked = True
        self._deadline = min(self._deadline, now + HURRY)
        self._process.send_signal(signal.SIGINT)

    def overdue(self, now: float) -> str | None:
        """Why it has to be killed; None when it has not.

        A process that was silent for its whole lease could not renew the claims of its jobs either: they are lost, and
        killing it costs nothing more.
        """
        patience = FIRST_WORD if self._lease is None else max(self._lease, 3 * BEAT)
        if self.silent(now) >= patience:
            return f"silent for {patience:g} s"
        if now >= self._deadline:
            return "did not leave in time"
        return None

    def kill(self, why: str) -> None:
        """End it at once."""
        if self.killed is None:
            self.killed = why
            self._process.kill()

    @property
    def deadline(self) -> float:
        """When it has to be gone."""
        return self._deadline

    def close(self) -> None:
        """Let go of a process that has ended."""
        self._socket.close()
