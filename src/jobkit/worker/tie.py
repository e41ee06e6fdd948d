"""What ties a worker process to its supervisor: a socket, on which one tells how it is and sees the other's end.

The kernel closes a dead process's end, so each knows of the other's death, however it came, on every platform. A line
is one JSON object: `{"state": ..., "drain": seconds, "lease": seconds}`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jobkit.config import Settings
    from jobkit.worker.health import State

log = logging.getLogger("jobkit.worker")

LAST: Final = 2.0
"""Seconds after the shutdown timeout in which a process has to be gone."""


class Tie:
    """The worker's end. When the supervisor is gone the worker drains, as on SIGTERM, and is gone in time.

    Args:
        descriptor: of the socket, as the supervisor passed it.

    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        # Programs that a job starts shall not hold our end open.
        self._socket.set_inheritable(False)
        self._settings: Settings | None = None
        threading.Thread(target=self._watch, name="jobkit-tie", daemon=True).start()

    def tell(self, settings: Settings) -> None:
        """Have the supervisor know how long this process may take to drain, and for how long it may be silent."""
        self._settings = settings

    def show(self, state: State) -> None:
        """Tell the state."""
        said: dict[str, object] = {"state": state}
        if self._settings is not None:
            said |= {"drain": self._settings.shutdown_timeout, "lease": self._settings.lease}
        # A supervisor that is stopped does not read; the worker does not wait for it. One that is gone is seen below.
        with contextlib.suppress(OSError):
            self._socket.send(json.dumps(said).encode() + b"\n", socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Nothing: the end of the process says it."""

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(64):
                pass
        log.critical("the supervisor is gone: this process drains and ends")
        # The kernel's timer, not a thread's: it ends a process whose interpreter hangs, too.
        drain = self._settings.shutdown_timeout if self._settings is not None else 0.0
        signal.setitimer(signal.ITIMER_REAL, drain + LAST)
        os.kill(os.getpid(), signal.SIGTERM)
