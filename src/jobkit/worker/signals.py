"""The signals that end a process, taken by one that runs jobs, for itself alone: what a job forks has them back."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

ENDING: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def taken(handler: Callable[[int, FrameType | None], Any]) -> Generator[None]:
    """Have `handler` called for SIGTERM and SIGINT; in the main thread, like any handler.

    A fork would inherit it, and with it deafness: nobody there waits for what the handler tells. So these get what was
    set before; `multiprocessing.Process.terminate` counts on it. Programs get the usual from the kernel.
    """
    # A handler that is not Python's reads as None, and cannot be set again.
    places = {number: (handler, signal.signal(number, handler) or signal.SIG_DFL) for number in ENDING}
    os.register_at_fork(after_in_child=lambda: _give_back(places))
    try:
        yield
    finally:
        _give_back(places)
        places.clear()  # what is registered for forks stays, and shall not keep the handler's owner


def _give_back(places: dict[signal.Signals, tuple[Any, Any]]) -> None:
    for number, (ours, before) in places.items():
        if signal.getsignal(number) == ours:
            signal.signal(number, before)
