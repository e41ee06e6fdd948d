"""How long to wait for a server that is away."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST: Final = 0.05
LONGEST: Final = 5.0
"""Seconds before the second try, and at most between two tries."""


class Patience:
    """Waits that double from 50 ms to 5 s, each shortened by chance so that workers do not return all at once."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._next = FIRST

    def wait(self) -> float:
        """The seconds to wait now; the next wait is longer."""
        now, self._next = self._next, min(LONGEST, self._next * 2)
        return now * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """The server answered."""
        self._next = FIRST

    @property
    def fresh(self) -> bool:
        """Whether the last try succeeded: the first failure of an outage is the one to log."""
        return self._next == FIRST
