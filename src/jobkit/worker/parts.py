"""Background parts of a worker. Each is one thread with the same contract: `start()`, `stop()`, `join(timeout)`."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from jobkit.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("jobkit.worker")


class Part(ABC):
    """One background thread.

    `start()` begins it, once; a part that was stopped before never begins. `stop()` asks it to end; from any thread,
    any number of times, at any time. `join(timeout)` waits for its end and says whether it came. A part whose body
    raises is over: it is logged, and `on_crash(part's name)` decides what that means for the worker.
    """

    def __init__(self, name: str, *, on_crash: Callable[[str], None]) -> None:
        self.name = name
        self._on_crash = on_crash
        self._stopping = threading.Event()
        self._gate = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; RuntimeError when it was begun before."""
        with self._gate:
            if self._thread is not None:
                raise RuntimeError(f"{self.name}: expected one start(), got a second; make a new worker")
            if self._stopping.is_set():
                return
            self._thread = threading.Thread(target=self._main, name=f"jobkit-{self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask it to end; returns at once."""
        with self._gate:
            self._stopping.set()
        self._wake()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, `timeout` seconds at most; True when it has ended (or never began)."""
        thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _main(self) -> None:
        try:
            self._body()
        except BaseException:  # also SystemExit, which would end a thread without a word
            log.exception("a part of the worker crashed", extra={"part": self.name})
            self._on_crash(self.name)

    @abstractmethod
    def _body(self) -> None:
        """Run until `_stopping` is set."""

    def _wake(self) -> None:  # noqa: B027 - most parts wait on `_stopping` alone
        """Bring the body back from whatever it waits on; called after `_stopping` is set, also when it never began."""


class Ticker(Part):
    """A part that calls `tick()` again and again.

    `tick` answers the seconds until it is wanted again. One that raises is logged and called again after `patience`
    seconds: the next tick may work, and the other parts need this one. The server being away is logged once an outage.
    """

    def __init__(
        self, name: str, tick: Callable[[], float], *, patience: float, on_crash: Callable[[str], None]
    ) -> None:
        super().__init__(name, on_crash=on_crash)
        self._tick = tick
        self._patience = patience

    def _body(self) -> None:
        wait, away = 0.0, False
        while not self._stopping.wait(wait):
            try:
                wait = self._tick()
                away = False
            except (StoreUnavailable, StoreFull) as error:
                if not away:
                    log.warning(
                        "the server did not answer; trying again", extra={"part": self.name, "error": str(error)}
                    )
                wait, away = self._patience, True
            except Exception:
                log.exception("a tick failed; trying again", extra={"part": self.name})
                wait = self._patience
