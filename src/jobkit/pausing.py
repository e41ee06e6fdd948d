"""Pausing jobs and resuming them, for the whole cluster."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING

import attrs

from jobkit.errors import DeclarationError
from jobkit.pauses import Pause, Selection, from_wire, new_id, to_wire
from jobkit.store import pauses
from jobkit.store.inspection import Inspection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from jobkit.queues import QueueSet
    from jobkit.store import Store


@attrs.frozen
class Pauses:
    """The pauses on one Redis. Raises StoreUnavailable; `jobkit.JobKit` says what each call means."""

    _store: Store
    _queues: QueueSet

    def pause(
        self,
        *,
        queue: str | None,
        name: str | None,
        tag: tuple[str, str] | None,
        reason: str,
        until: datetime | None,
        by: str | None,
    ) -> Pause:
        """Put a pause in force."""
        selection = Selection.of("pause", queue, name, tag)
        told = to_wire(selection, pause_id=new_id(), reason=reason, by=_somebody() if by is None else by, until=until)
        self._check(selection.queue)
        since = self._store.run(pauses.pause(self._store.keys, told))
        if since == pauses.OVER:
            raise DeclarationError(f"pause(until=): expected a moment that is still to come, got {until!r}")
        if since == pauses.TOO_MANY:
            raise DeclarationError(
                f"pause: {pauses.MOST} pauses are in force, and every claim reads them all; resume some, or pause by "
                "what their jobs have in common (`jobkit pauses` lists them)"
            )
        return from_wire({**told, "s": since})

    def resume(
        self,
        pause: Pause | str | None,
        *,
        queue: str | None,
        name: str | None,
        tag: tuple[str, str] | None,
    ) -> int:
        """End pauses, and bring back what they held."""
        given: object = pause
        if given is None:
            selection = Selection.of("resume", queue, name, tag)
            return self._end([each.id for each in self.ls() if selection.fits(each)])
        if queue is not None or name is not None or tag is not None:
            raise DeclarationError("resume: expected a pause, or queue=, name= and tag=, got both")
        if isinstance(given, Pause):
            return self._end([given.id])
        if not isinstance(given, str) or not given:
            raise DeclarationError(f"resume: expected a Pause or its id (str), got {pause!r:.200}")
        return self._end([given])

    def ls(self) -> list[Pause]:
        """What is paused, the oldest first."""
        return [from_wire(told) for told in pauses.in_force(self._store)]

    def _check(self, queue: str | None) -> None:
        """Raise UnknownQueue for one that neither the kit nor this Redis knows."""
        if queue is None or queue in self._queues:
            return
        if queue not in Inspection(self._store).queue_names():
            self._queues.get(queue)

    def _end(self, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        keys = self._store.keys
        done = self._store.run(pauses.resume(keys, ids))
        ended = done.ended
        while done.more:
            done = self._store.run(pauses.resume(keys, ()))
        return ended


def _somebody() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
