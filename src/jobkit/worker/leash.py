"""What ends a child process when its worker is gone: a pipe whose other end the worker holds, and the kernel closes."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_SET_SIGNAL: Final = 10  # F_SETSIG, which the fcntl module does not name


def put_on(leash: Connection) -> None:
    """Tie this process to whoever holds the other end.

    On Linux the kernel kills its whole process group, whatever holds the interpreter. Elsewhere a thread does, which a
    library that keeps the interpreter locked holds up until it returns.
    """
    descriptor = leash.fileno()
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, _SET_SIGNAL, signal.SIGKILL)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
        # Cut before that was in place: nobody would tell.
        os.set_blocking(descriptor, False)
        if _is_cut(descriptor):
            _end()
    else:
        threading.Thread(target=_watch, args=(descriptor,), name="jobkit-leash", daemon=True).start()


def _is_cut(descriptor: int) -> bool:
    try:
        return not os.read(descriptor, 1)
    except BlockingIOError:
        return False


def _watch(descriptor: int) -> None:
    os.read(descriptor, 1)
    _end()


def _end() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
