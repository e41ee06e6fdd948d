"""Interrupting an attempt from outside, exactly once, without a leak into what its thread runs next.

CPython delivers an asynchronous exception at some later bytecode of the thread, which may by then run something else.
So a token decides: a list holds the thread's identity while the attempt's function runs, and whoever pops it has won.
The thread wins: nothing will be sent. The interrupter wins: the thread does not leave the fence before the exception
has come, or was taken back after it was sent. `list.pop` and `list.append` are atomic, so there is no lock that an
exception could leave locked.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from jobkit.errors import Interruption

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_MISSING: Any = object()


def _set_async_exc(ident: int, error: type[BaseException] | None) -> None:
    raised = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), raised)


class Fence(Protocol):
    """What the watchdog knows of a running attempt."""

    why: type[Interruption] | None
    """The interruption that was sent, if one was."""

    def interrupt(self, why: type[Interruption]) -> bool:
        """Send it; False when the attempt cannot be reached just now, so ask again a little later.

        It has not begun, has ended, or talks to the server.
        """
        ...


class ThreadFence:
    """The fence of an attempt that runs in a thread."""

    __slots__ = ("_ident", "_open", "_sent", "why")

    def __init__(self) -> None:
        self.why: type[Interruption] | None = None
        self._ident = 0
        self._open: list[int] = []
        self._sent = False

    def interrupt(self, why: type[Interruption]) -> bool:
        """Send `why` to the thread; one thread (the watchdog) calls this."""
        try:
            ident = self._open.pop()
        except IndexError:
            return False
        self.why = why
        _set_async_exc(ident, why)
        self._sent = True
        return True

    def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call `fn` inside the fence: gives what it gives, raises what it raises, or the interruption.

        Nothing is pending for this thread when it returns. What `fn` returned counts even when an interruption was on
        its way: the work is done.
        """
        value, error = _MISSING, None
        try:
            self._ident = threading.get_ident()
            self._open.append(self._ident)
            try:
                value = fn(*args)
            except BaseException as raised:  # noqa: BLE001 - it is raised again below, outside the fence
                error = raised
            try:
                self._open.pop()
            except IndexError:
                while not self._sent:  # the interrupter stands between its pop and its send: microseconds
                    time.sleep(0)
                _set_async_exc(self._ident, None)
        except Interruption as late:
            error = error or late
        if value is not _MISSING:
            return value
        raise error  # type: ignore[misc]  # without a value there is an error

    def mask(self) -> bool:
        """Close the fence while this thread talks to the server, so that no exchange is cut in half.

        True when it was closed and `unmask` is to follow; False in a thread of the processor's own, which no
        interruption reaches. Raises the interruption that was sent before.
        """
        if threading.get_ident() != self._ident:
            return False
        try:
            self._open.pop()
        except IndexError:
            while not self._sent:
                time.sleep(0)
            _set_async_exc(self._ident, None)  # it may still be on its way; once is enough
            why = self.why or Interruption
            raise why from None
        return True

    def unmask(self) -> None:
        """Open the fence again."""
        self._open.append(self._ident)


class TaskFence:
    """The fence of an attempt that runs on the event loop."""

    __slots__ = ("_loop", "_task", "why")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.why: type[Interruption] | None = None
        self._loop = loop
        self._task: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[None]) -> None:
        """Tell which task runs the attempt."""
        self._task = task

    def interrupt(self, why: type[Interruption]) -> bool:
        """Cancel the task; its attempt reads `why`."""
        task = self._task
        if task is None or task.done() or self._loop.is_closed():
            return False
        self.why = why
        self._loop.call_soon_threadsafe(task.cancel)
        return True
