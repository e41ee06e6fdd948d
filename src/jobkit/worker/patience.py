"""How long to wait before the next try of what failed: a server that is away, a process that died."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST: Final = 0.05
LONGEST: Final = 5.0
"""Seconds before the second try, and at most between two tries."""


class Patience:
    """Waits that double from `first` to `longest` seconds.

    Each is shortened by chance, by half at most, so that those who wait do not return all at once.
    """

    def __init__(
        self, chance: Callable[[], float] = random.random, *, first: float = FIRST, longest: float = LONGEST
    ) -> None:
        self._chance = chance
        self._first = first
        self._longest = longest
        self._next = first

    def wait(self) -> float:
        """The seconds to wait now; the next wait is longer."""
        now, self._next = self._next, min(self._longest, self._next * 2)
        return now * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """It works again."""
        self._next = self._first

    @property
    def fresh(self) -> bool:
        """Whether the last try succeeded: the first failure of an outage is the one to log."""
        return self._next == self._first
