"""Calls as the bytes that go over the wire (RESP)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

try:
    from hiredis import pack_command as _fast
except ImportError:
    _fast = None


def _plain(words: Sequence[Any]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


pack: Callable[[Sequence[Any]], bytes] = _plain if _fast is None else lambda words: _fast(tuple(words))
"""The words of one call: bytes, str, int or float."""
