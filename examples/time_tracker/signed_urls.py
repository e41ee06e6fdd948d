"""Presigned URLs: whoever holds one may read one file until it expires. The app makes them, the file store checks."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit


class SignatureRefused(PermissionError):
    """The URL was not signed with this key, was changed afterwards, or has expired."""


def presign(base_url: str, key: str, *, secret: bytes, expires: int) -> str:
    """Make a URL for the file at `key` that is good until `expires` (seconds since 1970)."""
    query = urlencode({"expires": expires, "signature": _signature(key, expires, secret)})
    return f"{base_url.rstrip('/')}/{quote(key)}?{query}"


def verify(target: str, *, secret: bytes, now: float) -> str:
    """Return the key of the file that `target` (path and query of a request) may read, or raise SignatureRefused."""
    parts = urlsplit(target)
    key, query = unquote(parts.path.lstrip("/")), parse_qs(parts.query)
    expires, given = query.get("expires", [""])[0], query.get("signature", [""])[0]
    if not (expires.isascii() and expires.isdigit()):
        raise SignatureRefused(f"expected ?expires= in seconds since 1970, got {expires!r}")
    if not hmac.compare_digest(_signature(key, int(expires), secret).encode(), given.encode()):
        raise SignatureRefused(f"the signature does not belong to {key!r}")
    if now >= int(expires):
        raise SignatureRefused(f"the URL of {key!r} expired {now - int(expires):.0f} s ago; ask for a new one")
    return key


def _signature(key: str, expires: int, secret: bytes) -> str:
    return hmac.new(secret, f"GET\n{key}\n{expires}".encode(), hashlib.sha256).hexdigest()
