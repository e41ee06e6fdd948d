"""What a worker process says of itself: in which state it is, whether it is ready, whether it lives."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

State: TypeAlias = Literal["starting", "claiming", "waiting", "draining"]
"""`waiting`: it would claim, and the server does not answer."""

BEAT: Final = 1.0
"""Seconds between two signs of life of a process."""
STALE: Final = 5.0
"""Seconds after which a process's last word is no sign of life any more."""


class Health(NamedTuple):
    """How it is, at one moment.

    Attributes:
        ready: whether all processes claim jobs.
        live: whether every process is heard of. False means hung, not idle and not without a server.
        stopping: whether it is on its way out; it will not be ready again.
        reason: the same in words, for the person who asks.

    """

    ready: bool
    live: bool
    stopping: bool
    reason: str


class Outlet(Protocol):
    """Where health goes: a supervisor that listens, or files, a port and systemd."""

    def show(self, state: State) -> None:
        """Tell the state; called each second, and when it changes."""
        ...

    def close(self) -> None:
        """Take back what says that the process is ready."""
        ...


def health_of_one(state: State) -> Health:
    """The health of a worker that is a process by itself: that it can tell means that it lives."""
    words = {
        "starting": "the worker starts",
        "claiming": "the worker claims",
        "waiting": "the worker waits for its Redis server",
        "draining": "the worker drains",
    }
    return Health(state == "claiming", live=True, stopping=state == "draining", reason=words[state])
