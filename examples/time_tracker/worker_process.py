"""Workers of this app as processes of their own, as a supervisor would start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

APP = f"{__package__}.jobs:create_kit"


class WorkerProcess:
    """`python -m jobkit worker --app ...:create_kit` for as long as a `with` block lasts; its log goes to a file.

    `environment` is added to this process's own. `patience` is how many seconds a stop may take before it is a kill.
    """

    def __init__(
        self, log: Path, environment: Mapping[str, str], *, queues: Sequence[str] = (), patience: float = 40.0
    ) -> None:
        self.log = log
        self._command = [sys.executable, "-m", "jobkit", "worker", *queues, "--app", APP]
        self._environment = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for whoever started it, who stops it in order
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._started().pid

    @property
    def exit_code(self) -> int | None:
        """What the process ended with; None while it runs."""
        return self._started().poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once: the worker finishes what it has begun and takes nothing new."""
        if not self._asked and self.exit_code is None:
            self._started().send_signal(signal.SIGTERM)
        self._asked = True

    def stop(self) -> int:
        """Ask the worker to stop, wait until it has, and return its exit code. It is killed when it takes too long."""
        self.ask_to_stop()
        process = self._started()
        try:
            return process.wait(self._patience)
        except subprocess.TimeoutExpired:
            return self._kill(process)
        except KeyboardInterrupt:
            self._kill(process)
            raise

    def _kill(self, process: subprocess.Popen[bytes]) -> int:
        process.kill()
        return process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the worker was not started: use it in a with block")
        return self._process
