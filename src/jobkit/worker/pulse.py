"""A worker process's sign of life: one thread that tells an outlet each second in which state the worker is."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NoReturn

from jobkit.worker.health import BEAT
from jobkit.worker.parts import Part

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from jobkit.worker.health import Outlet, State
    from jobkit.worker.worker import Worker


class Pulse(Part):
    """Tells `starting` from its start on, and the worker's state once it follows one. Closes the outlet at its end.

    A `with` block starts and ends it. It is a thread like those that run the jobs: a process that is stopped, or whose
    interpreter is held by one call, falls silent.
    """

    def __init__(self, outlet: Outlet) -> None:
        super().__init__("pulse", on_crash=self._crashed)
        self._outlet = outlet
        self._nudged = threading.Event()
        self._worker: Worker | None = None

    def follow(self, worker: Worker) -> None:
        """Tell this worker's state from now on, each change of it at once."""
        self._worker = worker
        worker.on_change = self._nudged.set

    def leave(self, code: int) -> NoReturn:
        """End the process as `Worker.run` has to where threads are left that do not end."""
        self.end()
        os._exit(code)

    def end(self) -> None:
        """Stop, and close the outlet."""
        self.stop()
        self.join(BEAT)
        self._outlet.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _state(self) -> State:
        return "starting" if self._worker is None else self._worker.state

    def _body(self) -> None:
        while not self._stopping.is_set():
            self._nudged.clear()
            self._outlet.show(self._state())
            self._nudged.wait(BEAT)

    def _wake(self) -> None:
        self._nudged.set()

    def _crashed(self, _: str) -> None:
        """A worker that nobody can see ends; who watches it starts another."""
        if self._worker is not None:
            self._worker.stop()
