"""Calls as the bytes that go over the wire, and answers read as they come: RESP, by hiredis where it is there."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_hiredis: Final[Any] = importlib.import_module("hiredis") if importlib.util.find_spec("hiredis") else None
"""The extra `fast` installs it."""

make_reader: Final[Callable[[], Any] | None] = None if _hiredis is None else _hiredis.Reader
"""A reader that is fed bytes and gives whole answers, errors as values of the type `ReplyError`."""
ReplyError: Final[type[Exception]] = Exception if _hiredis is None else _hiredis.ReplyError


def _plain(words: Sequence[Any]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def pack(words: Sequence[Any]) -> bytes:
    """One call: its words are bytes, str, int or float."""
    if _hiredis is None:
        return _plain(words)
    packed: bytes = _hiredis.pack_command(tuple(words))
    return packed
