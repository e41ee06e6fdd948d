"""A process's hold on the embedded server."""

import contextlib
import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self
from urllib.parse import quote

from jobkit.embedded import guard
from jobkit.embedded.binary import find_binary
from jobkit.embedded.folder import data_folder, holds_sockets, socket_folder, unusable
from jobkit.errors import JobkitError, StoreUnavailable

_log = logging.getLogger(__name__)

JOIN_ATTEMPTS = 10
"""Guards that may turn a user away, because they were leaving or were killed, before it gives up."""
LOG_BYTES = 1_000_000
"""Size from which `server.log` begins anew at the next start."""


class EmbeddedServer:
    """This process's hold on the server of a folder. Made by `acquire`; `release` it, or use it in a `with` block."""

    _kernel_tie: ClassVar[bool] = sys.platform == "linux"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket_path = folder / "server.sock"
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._connection = self._join()
        self._watcher = threading.Thread(target=self._watch, name="jobkit-embedded", daemon=True)
        self._watcher.start()

    @classmethod
    def acquire(cls, path: str | Path | None = None) -> Self:
        """Start the server of this folder, or join it where it runs already; None is the user's own folder.

        Returns when it answers, with its data loaded. Raises ConfigurationError where there is no program to start or
        the folder cannot be used, StoreUnavailable where the server does not start, with what it said.
        """
        return cls(data_folder(path))

    @property
    def url(self) -> str:
        """The URL for clients, `unix:///...`."""
        return f"unix://{quote(str(self.socket_path))}"

    def release(self, timeout: float = 10.0) -> None:
        """Let go of the server; where nobody else holds it, wait up to `timeout` seconds until it has stopped.

        Idempotent. In a forked child it only closes the child's copy: the hold is the parent's.
        """
        if os.getpid() != self._pid:
            self._connection.close()
            return
        with self._lock:
            self._released.set()
            with contextlib.suppress(OSError):  # the guard has closed it already
                self._connection.shutdown(socket.SHUT_WR)
        if threading.current_thread() is not self._watcher:
            self._watcher.join(timeout)
            if self._watcher.is_alive():
                _log.warning("the embedded server of %s is still stopping after %s s", self.folder, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.folder)!r})"

    def _watch(self) -> None:
        """Wait for the end of the guard: it is the end of our hold, or else the guard was killed and needs a heir."""
        while True:
            connection = self._connection
            with contextlib.suppress(OSError), connection:
                while connection.recv(64):
                    pass
            if self._released.is_set():
                return
            _log.warning("the guard of the embedded server of %s has gone: starting another", self.folder)
            try:
                heir = self._join()
            except JobkitError:
                _log.exception("the embedded server of %s could not be started again", self.folder)
                return
            with self._lock:
                self._connection = heir
                if self._released.is_set():
                    heir.shutdown(socket.SHUT_WR)

    def _join(self) -> socket.socket:
        """Connect to a guard whose server answers."""
        for _ in range(JOIN_ATTEMPTS):
            try:
                with _locked(self.folder / "lock"):
                    connection = self._connect() or self._start_guard()
            except OSError as error:
                raise unusable(self.folder, str(error)) from error
            try:
                answer = _read_line(connection)
            except BaseException:
                connection.close()
                raise
            if answer == "ready":
                return connection
            connection.close()
            if answer.startswith("failed "):
                raise StoreUnavailable(
                    f"the embedded server of {self.folder} cannot run: {answer.removeprefix('failed ')}"
                )
        raise StoreUnavailable(
            f"the guard of the embedded server of {self.folder} ended {JOIN_ATTEMPTS} times before its server "
            f"answered; {self.folder / 'server.log'} says why"
        )

    def _connect(self) -> socket.socket | None:
        """Give this process's vote to the guard that runs, if one does."""
        # Where the sockets had to go elsewhere, their place depends on the environment: the starter's is the one.
        sockets = self.folder
        with contextlib.suppress(FileNotFoundError):
            sockets = Path(os.fsdecode((self.folder / "sockets").read_bytes()))
        if not holds_sockets(sockets):
            return None
        self.socket_path = sockets / "server.sock"
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(sockets / "guard.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
        return connection

    def _start_guard(self) -> socket.socket:
        """Start a guard that has this process's vote already."""
        program = find_binary()
        sockets = socket_folder(self.folder)
        self.socket_path = sockets / "server.sock"
        record = self.folder / "sockets"
        if sockets == self.folder:
            record.unlink(missing_ok=True)
        else:
            record.write_bytes(os.fsencode(sockets))
        address = sockets / "guard.sock"
        address.unlink(missing_ok=True)
        connection = socket.socket(socket.AF_UNIX)
        with contextlib.ExitStack() as undo, socket.socket(socket.AF_UNIX) as listener:
            undo.callback(connection.close)
            listener.bind(str(address))
            address.chmod(0o600)
            listener.listen(128)
            connection.connect(str(address))
            plan = {
                "program": str(program),
                "folder": str(self.folder),
                "socket": str(self.socket_path),
                "listener": listener.fileno(),
                "kernel_tie": self._kernel_tie,
            }
            with _open_log(self.folder / "server.log") as log:
                # It forks and ends at once: what goes on is nobody's child, and outlives us while others need it.
                subprocess.run(  # noqa: S603 - our own program
                    [sys.executable, "-I", "-S", guard.__file__, json.dumps(plan)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    pass_fds=[listener.fileno()],
                    start_new_session=True,
                    check=False,
                )
            undo.pop_all()
        return connection


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold a lock among all processes of this machine."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Not left to the closing: a child forked meanwhile has a copy, and would hold the lock for its life.
            fcntl.flock(file, fcntl.LOCK_UN)


def _open_log(path: Path) -> IO[bytes]:
    too_long = path.exists() and path.stat().st_size > LOG_BYTES
    return path.open("wb" if too_long else "ab")


def _read_line(connection: socket.socket) -> str:
    """Read the guard's answer; empty where it closed the connection instead."""
    received = b""
    while not received.endswith(b"\n"):
        try:
            part = connection.recv(4096)
        except ConnectionResetError:
            return ""
        if not part:
            return ""
        received += part
    return received.decode().strip("\n").replace("\r", "\n")
