"""The Lua scripts: one file a transition, put together with the libraries that it names.

A script's header says its keys, arguments, reply, bound and invariant; `--@include a b` names the files of
`scripts/lib/` that are put in front of it, in that order. Scripts are addressed by the SHA-1 of the whole text.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources

import attrs

NAMES = (
    "advance",
    "bookkeep",
    "cancel",
    "claim",
    "end",
    "enqueue",
    "fail",
    "lock",
    "pause",
    "peek",
    "permit",
    "progress",
    "promote",
    "push",
    "put_back",
    "read",
    "relock",
    "renew",
    "rescue",
    "resume",
    "retry",
    "save_step",
    "set_rules",
    "snooze",
    "stamp",
    "trim",
    "try_out",
    "unblock",
    "unlock",
)
_INCLUDE = "--@include "


_PLACES = re.compile(r"^local Q = \{(.+?)\}$", re.MULTILINE | re.DOTALL)


def _with_places(text: str) -> str:
    """The text with the numbers that its table Q has for the keys of a queue, in place of the table.

    A script's tables and functions are made anew in each call, and each look into a table costs again.
    """
    table = _PLACES.search(text)
    if table is None:
        return text
    places = dict(re.findall(r"(\w+) = (\d+)", table[1]))
    return re.sub(r"\bQ\.(\w+)", lambda name: places[name[1]], text.replace(table[0], ""))


@attrs.frozen
class Script:
    """One transition's Lua text and its SHA-1 in hex, by which the server knows it."""

    name: str
    text: str = attrs.field(repr=False)
    sha: str


@cache
def script(name: str) -> Script:
    """The script of a transition, read from the package once."""
    folder = resources.files("jobkit.store") / "scripts"
    own = (folder / f"{name}.lua").read_text(encoding="utf-8")
    parts: list[str] = []
    for line in own.splitlines():
        if line.startswith(_INCLUDE):
            parts += [
                (folder / "lib" / f"{library}.lua").read_text(encoding="utf-8")
                for library in line.removeprefix(_INCLUDE).split()
            ]
    text = _with_places("\n".join([*parts, own]))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
