"""The process that owns the embedded server."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable


def die_with_parent(parent: int) -> Callable[[], None]:
    """Make what a child runs before its program, so that the kernel ends it (SIGTERM) when its parent is gone.

    Linux only; elsewhere it does nothing. The parent is the thread that starts the child.
    """
    # Loaded here: between fork and exec nothing may be looked up.
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def arrange() -> None:
        if prctl is not None:
            prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)

    return arrange
