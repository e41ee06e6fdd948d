"""Readiness and liveness for whoever asks: a file that is there, a file whose time is fresh, a port, systemd."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from jobkit.errors import ConfigurationError
from jobkit.worker.health import health_of_one
from jobkit.worker.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobkit.worker.health import Health, State
    from jobkit.worker.probe_port import Port

log = logging.getLogger("jobkit.worker")

LOOPBACK: Final = "127.0.0.1"


class Probes(NamedTuple):
    """What an operator asked for on the command line.

    Attributes:
        ready_file: there while the worker is ready.
        live_file: its modification time is set each second while the worker lives.
        port: `PORT` (loopback) or `HOST:PORT` of an HTTP server with /readyz and /healthz; port 0 is any.

    """

    ready_file: str | None = None
    live_file: str | None = None
    port: str | None = None

    def check(self) -> None:
        """Raise ConfigurationError where the port's address is none, or a file's folder is not there."""
        _file(self.ready_file, "--ready-file")
        _file(self.live_file, "--live-file")
        if self.port is not None:
            address(self.port)


class Beacons:
    """Shows health in files, on a port and to systemd: what of these is wanted, which may be nothing.

    Raises:
        ConfigurationError: the port's address is none, or a file's folder is not there.
        OSError: the port cannot be had.

    """

    def __init__(self, probes: Probes, environ: Mapping[str, str]) -> None:
        self._ready_file = _file(probes.ready_file, "--ready-file")
        self._live_file = _file(probes.live_file, "--live-file")
        self._notifier = Notifier(environ)
        self._failing: set[Path] = set()
        if self._ready_file is not None:
            # One that a killed worker left is a lie by now.
            self._ready_file.unlink(missing_ok=True)
        self._port = None if probes.port is None else _port(*address(probes.port))

    def show(self, state: State) -> None:
        """Show the state of a worker that is a process by itself."""
        self.show_health(health_of_one(state))

    def show_health(self, health: Health) -> None:
        """Show it; called each second, and when it changes."""
        if self._port is not None:
            self._port.show(health)
        if self._ready_file is not None:
            self._keep(self._ready_file, lambda path: _set_ready(path, ready=health.ready))
        if self._live_file is not None and health.live:
            self._keep(self._live_file, _touch)
        self._notifier.show(health)

    def close(self) -> None:
        """Take everything back."""
        self._notifier.close()
        for path in (self._ready_file, self._live_file):
            if path is not None:
                self._keep(path, lambda each: each.unlink(missing_ok=True))
        if self._port is not None:
            self._port.close()

    def _keep(self, path: Path, change: Callable[[Path], None]) -> None:
        """Change a file; a full disk is no reason to end a worker, and is told once."""
        try:
            change(path)
        except OSError as error:
            if path not in self._failing:
                log.warning("cannot write a probe's file", extra={"file": str(path), "error": str(error)})
            self._failing.add(path)
        else:
            self._failing.discard(path)


def address(text: str) -> tuple[str, int]:
    """The host and port of `PORT` (on loopback), `HOST:PORT` or `[HOST]:PORT`; ConfigurationError for what is none."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the largest port
        raise ConfigurationError(
            f"--probe-port: expected PORT or HOST:PORT, such as 8080 or 0.0.0.0:8080, got {text!r}"
        )
    return host.strip("[]") or LOOPBACK, int(port)


def _port(host: str, port: int) -> Port:
    # An HTTP server is a third of what a supervisor imports: loaded for those who ask for one.
    from jobkit.worker.probe_port import Port  # noqa: PLC0415

    return Port(host, port)


def _file(named: str | None, option: str) -> Path | None:
    if named is None:
        return None
    path = Path(named).absolute()
    if not path.parent.is_dir():
        raise ConfigurationError(f"{option}: expected a file in a folder that is there, got {named!r}; make the folder")
    if path.is_dir():
        raise ConfigurationError(f"{option}: expected a file, got the folder {named!r}")
    return path


def _set_ready(path: Path, *, ready: bool) -> None:
    if not ready:
        path.unlink(missing_ok=True)
    elif not path.exists():
        # Under another name first: who looks at the file finds it whole or not at all.
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_text(f"{os.getpid()}\n", encoding="utf-8")
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


def _touch(path: Path) -> None:
    path.touch()
