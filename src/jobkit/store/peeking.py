"""Noticing jobs that plain RQ clients pushed: they ring no bell, so somebody has to look."""

from __future__ import annotations

from typing import Final

import attrs

from jobkit.store.connection import Operation, Store
from jobkit.store.scripting import script

ELECTED_FOR: Final = 1.0
"""Seconds that one caller stays elected after it last asked; when it dies another takes over after that."""


@attrs.frozen
class Peeking:
    """One candidate for looking. Any number may ask; one is elected and looks for all queues that jobkit serves."""

    store: Store
    caller: str

    def peek(self) -> int:
        """Ring for queues that hold jobs unannounced, where this caller is the elected one.

        Answers 0 then, else how many workers there are.
        """
        keys = self.store.keys
        call = Operation(
            script("peek"),
            [*keys.head, keys.specs, keys.peek],
            [keys.prefix, self.caller, round(ELECTED_FOR * 1000)],
            int,
        )
        return max(0, -self.store.run(call))
