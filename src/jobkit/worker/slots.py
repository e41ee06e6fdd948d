"""Exact accounting of a worker's slots, a queue at a time.

A slot is free, reserved (by a claim that is under way) or busy (by a claimed job). A reserved slot belongs to the
fetcher until its claim returns; a busy one to the finisher once the job ends, which may claim for it or release it.
Slots for jobs that are claimed ahead come and go: when there are fewer of them, the next that end are not used again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Slots:
    """The slots of one worker; thread-safe."""

    def __init__(self, capacity: Mapping[str, int]) -> None:
        self._capacity = dict(capacity)
        self._free = dict(capacity)
        self._ahead = dict.fromkeys(capacity, 0)
        self._reserved: dict[str, int] = {}
        self._stuck = 0
        self._closed = False
        self._told = False
        self._changed = threading.Condition()

    @property
    def total(self) -> int:
        """All slots, whatever they do; those for jobs claimed ahead aside."""
        return sum(self._capacity.values())

    @property
    def stuck(self) -> int:
        """Slots whose attempt was given up while its thread goes on."""
        return self._stuck

    def reserve(self) -> dict[str, int]:
        """Take every free slot, waiting until there is one; empty once `close()` was called.

        Not those for jobs claimed ahead: only who has just seen jobs end quickly claims for these.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._plain()))
            if self._closed:
                return {}
            self._told = False
            self._reserved = self._plain()
            for queue, n in self._reserved.items():
                self._free[queue] -= n
            return dict(self._reserved)

    def settle(self, claimed: Mapping[str, int]) -> None:
        """End the reservation: `claimed` slots are busy now, the others free again."""
        with self._changed:
            for queue, n in self._reserved.items():
                self._free[queue] += n - claimed.get(queue, 0)
            self._reserved = {}
            self._changed.notify_all()

    def reuse(self, ended: Mapping[str, int], ahead: Mapping[str, int]) -> dict[str, int]:
        """The slots to claim for in the call that records these ends: theirs, and what else is free.

        `ahead` is the number of jobs of each queue to hold beyond its slots from now on. All answered slots stay busy;
        `release` those that the call did not fill.
        """
        wants: dict[str, int] = {}
        with self._changed:
            for queue, free in self._free.items():
                more = ahead.get(queue, 0)
                have = free + ended.get(queue, 0) + more - self._ahead[queue]
                self._ahead[queue] = more
                self._free[queue] = min(0, have)
                if have > 0:
                    wants[queue] = have
        return wants

    def release(self, counts: Mapping[str, int], *, unheard: Callable[[], None] | None = None) -> None:
        """Make busy slots free.

        `unheard` is called, once a claim, when one is under way that does not listen to their queues.
        """
        with self._changed:
            for queue, n in counts.items():
                self._free[queue] += n
            deaf = bool(self._reserved) and not self._told and any(queue not in self._reserved for queue in counts)
            self._told = self._told or deaf
            self._changed.notify_all()
        if deaf and unheard is not None:
            unheard()

    def mark_stuck(self, change: int) -> None:
        """Count a busy slot as stuck (+1), or as no longer stuck (-1)."""
        with self._changed:
            self._stuck += change
            self._changed.notify_all()

    def close(self) -> None:
        """Reserve nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def busy(self) -> int:
        """Slots that hold a job, the stuck ones included."""
        with self._changed:
            return self._busy()

    def wait_idle(self, timeout: float | None, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait until no slot is reserved or busy, stuck ones aside.

        False when `timeout` seconds went by before that, or `until` says so (call `wake()` when its answer changes).
        """
        with self._changed:
            self._changed.wait_for(lambda: until() or self._idle(), timeout)
            return self._idle()

    def wake(self) -> None:
        """Let `wait_idle` look at `until` again."""
        with self._changed:
            self._changed.notify_all()

    def _plain(self) -> dict[str, int]:
        return {queue: n - self._ahead[queue] for queue, n in self._free.items() if n > self._ahead[queue]}

    def _busy(self) -> int:
        held = self.total + sum(self._ahead.values())
        return held - sum(self._free.values()) - sum(self._reserved.values())

    def _idle(self) -> bool:
        return not self._reserved and self._busy() <= self._stuck
