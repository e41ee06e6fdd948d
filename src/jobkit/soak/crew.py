"""The worker processes of a soak: forked from a process that has imported everything, so that one more is quick."""

from __future__ import annotations

import multiprocessing
import signal
from typing import TYPE_CHECKING, Any, Final

from jobkit.soak.work import serve

if TYPE_CHECKING:
    from jobkit.soak.work import Setup

_ENDS_WITHIN: Final = 40.0
"""Seconds that a worker may take to end when it is asked to: its shutdown timeout, and some."""


class Crew:
    """A number of worker processes, of which one may be killed and replaced at any time."""

    def __init__(self, setup: Setup, size: int) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([serve.__module__, "jobkit.worker.worker", "redis.asyncio", "hiredis"])
        self._setup = setup
        self._members: list[Any] = [None] * size

    def start(self) -> None:
        """Start every member."""
        for place in range(len(self._members)):
            self._enlist(place)

    def alive(self) -> dict[int, int]:
        """The process ids of the members that live, by place."""
        return {place: member.pid for place, member in enumerate(self._members) if member.is_alive()}

    def kill(self, place: int) -> int:
        """SIGKILL the member at this place and wait for its end; its process id."""
        member = self._members[place]
        member.kill()
        member.join()
        return int(member.pid)

    def replace(self, place: int) -> None:
        """Start another in its place."""
        self._enlist(place)

    def revive(self) -> int:
        """Replace members that have ended; how many those were."""
        ended = [place for place, member in enumerate(self._members) if not member.is_alive()]
        for place in ended:
            self._enlist(place)
        return len(ended)

    def stop(self) -> int:
        """Ask all to end (SIGTERM) and wait for it; how many failed to, or ended with an error."""
        members = [member for member in self._members if member is not None]
        for member in members:
            member.terminate()
        bad = 0
        for member in members:
            member.join(_ENDS_WITHIN)
            if member.exitcode is None:
                member.kill()
                member.join()
            # -SIGTERM: it had not begun to work yet
            bad += member.exitcode not in (0, -signal.SIGTERM)
            member.close()
        self._members = []
        return bad

    def _enlist(self, place: int) -> None:
        if self._members[place] is not None:
            self._members[place].close()
        member = self._context.Process(target=serve, args=(self._setup,), daemon=True)
        member.start()
        self._members[place] = member
