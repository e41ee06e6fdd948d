"""What is paused, as the scripts keep it: one key that every claim reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.store.connection import Operation, Store
from jobkit.store.scripting import script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobkit.store.keys import Keys

MOST: Final = 200
"""Pauses that may be in force: every claim reads them all."""
BOUND: Final = 200
"""Jobs that one call brings back (design 5.7)."""
OVER: Final = 0
"""The answer where a pause would end before it begins."""
TOO_MANY: Final = -1
"""The answer where as many as may be are in force."""


@attrs.frozen
class Resumed:
    """What a call ended and brought back; `more`: another one will bring back more."""

    ended: int
    back: int
    more: bool


def pause(keys: Keys, told: Mapping[str, Any]) -> Operation[int]:
    """Put a pause in force; since when, in ms, or OVER or TOO_MANY. The same id makes one pause."""
    args = [keys.prefix, MOST, told["id"], json.dumps(told, ensure_ascii=False, separators=(",", ":"))]
    return Operation(script("pause"), keys.head, args, int)


def resume(keys: Keys, ids: Sequence[str]) -> Operation[Resumed]:
    """End the pauses of these ids and those whose time is over, and bring back up to 200 jobs that ended ones held."""

    def parse(reply: Any) -> Resumed:
        ended, back, more = reply
        return Resumed(ended, back, bool(more))

    return Operation(script("resume"), keys.head, [keys.prefix, BOUND, *ids], parse)


def in_force(store: Store) -> list[Mapping[str, Any]]:
    """The pauses in force, the oldest first. Raises StoreUnavailable."""
    keys = store.keys
    stored, seen, (seconds, micros) = store.run_many([("GET", keys.pauses), ("GET", keys.clock), ("TIME",)])
    now = max(seconds * 1000 + micros // 1000, int(seen or 0))
    return [told for told in json.loads(stored or b"[]") if told.get("u") is None or told["u"] > now]
