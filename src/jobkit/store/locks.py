"""Taking, keeping and giving back a mutex for somebody who is no job: three described calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobkit.flow import short
from jobkit.store.connection import Operation
from jobkit.store.scripting import script

if TYPE_CHECKING:
    from jobkit.store.keys import Keys


def take(keys: Keys, name: str, token: str, lease: float) -> Operation[int]:
    """Take the mutex for `lease` seconds; its fencing number, 0 where somebody holds it."""
    return Operation(script("lock"), keys.head, [keys.prefix, short(name), token, round(lease * 1000)], int)


def keep(keys: Keys, name: str, token: str, lease: float) -> Operation[bool]:
    """Extend the lease by `lease` seconds from now; False where it is lost."""
    return Operation(script("relock"), keys.head, [keys.prefix, short(name), token, round(lease * 1000)], bool)


def give_back(keys: Keys, name: str, token: str) -> Operation[bool]:
    """Give the mutex back; False where it was lost before."""
    return Operation(script("unlock"), keys.head, [keys.prefix, short(name), token], bool)
