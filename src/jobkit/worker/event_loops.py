"""The event loop that async processors run on."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from jobkit.errors import ConfigurationError

try:
    import uvloop
except ImportError:  # it comes with the extra `fast`, and not on Windows
    uvloop = None  # type: ignore[assignment]

LoopKind: TypeAlias = Literal["auto", "asyncio", "uvloop"]


def new_event_loop(kind: LoopKind) -> asyncio.AbstractEventLoop:
    """A new loop: uvloop's where the application has it, else asyncio's; or the one that is named.

    Raises ConfigurationError where uvloop is named and not installed.
    """
    if kind == "uvloop" and uvloop is None:
        raise ConfigurationError(
            "event_loop: expected uvloop to be installed, since JOBKIT_EVENT_LOOP is uvloop, and it is not. "
            "Install jobkit[fast], or let JOBKIT_EVENT_LOOP be auto"
        )
    return asyncio.new_event_loop() if kind == "asyncio" or uvloop is None else uvloop.new_event_loop()
