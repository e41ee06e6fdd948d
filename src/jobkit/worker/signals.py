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


class _Taken:
    """A handler that knows which one it stands in for."""

    __slots__ = ("before", "handler")

    def __init__(self, handler: Callable[[int, FrameType | None], Any], number: signal.Signals) -> None:
        self.handler = handler
        # A handler that is not Python's reads as None, and cannot be set again.
        self.before = signal.getsignal(number) or signal.SIG_DFL

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.handler(number, frame)


@contextmanager
def taken(handler: Callable[[int, FrameType | None], Any]) -> Generator[None]:
    """Have `handler` called for SIGTERM and SIGINT; in the main thread, like any handler.

    Afterwards, these have what was set before, unless something else was set meanwhile. One may be taken inside another
    or after it.

    A fork would inherit it, and with it deafness: nobody there waits for what the handler tells. So a fork gets what
    was set before the outermost; `multiprocessing.Process.terminate` counts on it. Programs get the usual from the
    kernel.
    """
    places = {number: _Taken(handler, number) for number in ENDING}
    try:
        for number, ours in places.items():
            signal.signal(number, ours)
        yield
    finally:
        for number, ours in places.items():
            current: object = signal.getsignal(number)
            if current is ours:
                signal.signal(number, ours.before)


def _give_back() -> None:
    for number in ENDING:
        current: Any = signal.getsignal(number)
        before = current
        while isinstance(before, _Taken):
            before = before.before
        if before is not current:
            signal.signal(number, before)


# Once, as nothing that is registered for forks can be withdrawn.
os.register_at_fork(after_in_child=_give_back)
