"""systemd's notifications: a datagram to the socket that NOTIFY_SOCKET names (`man sd_notify`)."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobkit.worker.health import Health

log = logging.getLogger("jobkit.worker")

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd tells one process, and its children should not take for theirs."""


class Notifier:
    """Tells systemd: READY once, STATUS when it changes, WATCHDOG while the process lives, STOPPING at the end.

    Does nothing where NOTIFY_SOCKET is not set. `show` is called each second at least.
    """

    def __init__(self, environ: Mapping[str, str], *, now: Callable[[], float] = time.monotonic) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._every = _watchdog(environ)
        self._now = now
        self._due = now()
        self._status = ""
        self._ready = False
        self._stopping = False
        self._failing = False

    def show(self, health: Health) -> None:
        """Say what is new."""
        if self._address is None:
            return
        lines: list[str] = []
        if health.stopping and not self._stopping:
            self._stopping = True
            lines.append("STOPPING=1")
        elif health.ready and not self._ready:
            self._ready = True
            lines.append("READY=1")
        if self._every is not None and health.live and self._now() >= self._due:
            self._due = self._now() + self._every
            lines.append("WATCHDOG=1")
        if health.reason != self._status:
            self._status = health.reason
            lines.append(f"STATUS={health.reason}")
        if lines:
            self._send(self._address, "\n".join(lines))

    def close(self) -> None:
        """Say that it ends, where that has not been said."""
        if self._address is not None and not self._stopping:
            self._stopping = True
            self._send(self._address, "STOPPING=1")

    def _send(self, address: str, text: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # A manager that does not read must not hold the worker up.
                sender.settimeout(0)
                sender.sendto(text.encode(), address)
        except OSError as error:
            if not self._failing:
                log.warning("systemd cannot be told", extra={"socket": address, "error": str(error)})
            self._failing = True
        else:
            self._failing = False


def _address(named: str) -> str | None:
    if not named:
        return None
    if named.startswith("@"):
        return "\0" + named[1:]
    if named.startswith("/"):
        return named
    log.warning(
        "NOTIFY_SOCKET: expected a path or @name of a unix socket; nothing is told to systemd", extra={"got": named}
    )
    return None


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life: half of what systemd waits for one; None where it does not wait for ours."""
    wanted, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or int(wanted) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / 2_000_000
