"""RQ's commands to a worker (`rq` and its dashboards send them over pub/sub), and its heartbeat."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from jobkit.errors import JobkitError
from jobkit.worker.parts import Part, Ticker
from jobkit.worker.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

log = logging.getLogger("jobkit.worker")

POLL: Final = 0.1
"""Seconds after which the listener looks whether it should end; costs the server nothing."""
BEAT: Final = 10.0
"""Seconds between two heartbeats."""


class Commandable(Protocol):
    """What the commands do to a worker."""

    def stop(self) -> None:
        """Shut down as on the first signal."""
        ...

    def stop_job(self, job_id: str) -> bool:
        """Stop the attempt of this job; False when it does not run here."""
        ...

    def stop_all(self) -> None:
        """Stop every running attempt."""
        ...


class CommandListener(Part):
    """Listens on the worker's channel: `stop-job`, `stop-execution`, `kill-horse`, `shutdown`."""

    def __init__(
        self,
        commands: Callable[..., Iterator[Mapping[str, Any] | None]],
        worker: Commandable,
        *,
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__("commands", on_crash=on_crash)
        self._commands = commands
        self._worker = worker

    def _body(self) -> None:
        patience = Patience()
        while not self._stopping.is_set():
            try:
                for command in self._commands(poll=POLL):
                    patience.reset()
                    if self._stopping.is_set():
                        return
                    if command is not None:
                        self._obey(command)
            except JobkitError as error:
                log.debug("the command channel broke; subscribing again", extra={"error": str(error)})
                self._stopping.wait(patience.wait())

    def _obey(self, command: Mapping[str, Any]) -> None:
        match command.get("command"):
            case "shutdown":
                log.info("shutting down: a command asked for it")
                self._worker.stop()
            case "stop-job" | "stop-execution":
                job_id = str(command.get("job_id", ""))
                if not self._worker.stop_job(job_id):
                    log.warning("asked to stop a job that does not run here", extra={"job_id": job_id})
            case "kill-horse":
                log.info("stopping all running jobs: a command asked for it")
                self._worker.stop_all()
            case unknown:
                log.warning("unknown command", extra={"command": unknown})


class Heartbeat(Ticker):
    """Tells RQ's tools every ten seconds that the worker lives, and whether it is busy."""

    def __init__(
        self,
        beat: Callable[[bool], None],
        busy: Callable[[], bool],
        *,
        on_crash: Callable[[str], None],
        every: float = BEAT,
    ) -> None:
        super().__init__("heartbeat", self.tick, patience=1.0, on_crash=on_crash)
        self._beat = beat
        self._busy = busy
        self._every = every

    def tick(self) -> float:
        """Beat once; the seconds until the next time."""
        self._beat(self._busy())
        return self._every
