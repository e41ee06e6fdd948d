"""A server of the soak's own: it keeps what it acknowledged, and can be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from jobkit.embedded import find_binary
from jobkit.embedded.guard import die_with_parent
from jobkit.errors import StoreUnavailable

if TYPE_CHECKING:
    from types import TracebackType

_CONFIG = """\
port 0
unixsocket {folder}/s
unixsocketperm 600
dir {folder}
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


class OwnServer:
    """A private server on a unix socket, in a folder that goes with it. Use it in a `with` block."""

    def __init__(self) -> None:
        # A short name: a socket's path holds 104 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="jk-soak-"))
        self.url = f"unix://{self.folder}/s"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, with what it held; returns when it answers. Raises StoreUnavailable with what it said."""
        process = subprocess.Popen(  # noqa: S603 - a program of this installation
            [find_binary(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - async-signal-safe
        )
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("expected pipes to the server")
        process.stdin.write(_CONFIG.format(folder=self.folder))
        process.stdin.close()
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if "eady to accept connections" in line:
                return  # nobody reads on: from here it says a few lines, which the pipe holds
        raise StoreUnavailable(f"expected a server to soak, but it did not start:\n{''.join(said)}")

    def kill(self) -> None:
        """SIGKILL; what it had acknowledged is in its file."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
