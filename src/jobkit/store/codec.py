"""RQ's job hash, written and read: the `data` field, our packed `jk` field, and times. Pure.

`data` is RQ's serialised call, JSON: `["jobkit.worker.perform", null, [name, version, payload], {}]`, compressed with
zlib when that makes it smaller, as RQ does. RQ's default serializer is pickle; such data is recognised by its first
byte and refused unread, because reading it runs whatever code it names.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from jobkit.errors import CorruptJob, PickledJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PERFORM: Final = "jobkit.worker.perform"
_HEAD: Final = f'["{PERFORM}",null,["'.encode()
_TAIL: Final = b"],{}]"
_COMPRESS_FROM: Final = 1024
_PICKLE: Final = b"\x80"
_VERSION_DIGITS: Final = 10
_NAME: Final = re.compile(r"[^\"\\\x00-\x1f]+")


class JobData(NamedTuple):
    """What a jobkit job carries; `payload` is JSON."""

    name: str
    version: int
    payload: bytes


@attrs.frozen
class VanillaCall:
    """What a plain RQ client enqueued: a function by its dotted name, with JSON arguments."""

    function: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Extra:
    """What rides on a job besides its payload: its retry policy as it was at enqueue, and its tags."""

    attempts: int = 1
    backoff: Sequence[Any] = ()
    tags: Mapping[str, str] = attrs.field(factory=dict)
    scheduled_for: datetime | None = None


@functools.lru_cache(maxsize=1024)
def _opening(name: str, version: int) -> bytes:
    """What comes before the payload, the same for all jobs of a name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"job name: expected text without quotes, backslashes or control characters, got {name!r}")
    return b'%b%b",%d,' % (_HEAD, name.encode(), version)


def pack_data(name: str, version: int, payload: bytes) -> bytes:
    """RQ's `data` field for a jobkit job; `payload` is JSON."""
    text = _opening(name, version) + payload + _TAIL
    if len(text) >= _COMPRESS_FROM:
        packed = zlib.compress(text, 1)
        if len(packed) < len(text):
            return packed
    return text


def unpack_data(data: bytes) -> JobData | VanillaCall:
    """Read a `data` field.

    Raises PickledJob (never unpickled) and CorruptJob, each with what was found and what to do.
    """
    text = inflate(data)
    if text.startswith(_HEAD) and text.endswith(_TAIL):
        cut = text.find(b",", text.find(b'",', len(_HEAD)) + 2) + 1
        opening = _read_opening(text[:cut]) if 0 < cut < len(text) - len(_TAIL) else None
        if opening is not None:
            return JobData(*opening, text[cut : -len(_TAIL)])
    return _unpack_slowly(text)


@functools.lru_cache(maxsize=1024)
def _read_opening(opening: bytes) -> tuple[str, int] | None:
    """Name and version of what `_opening` wrote; None where it is not that."""
    name, _, version = opening[len(_HEAD) : -1].partition(b'",')
    if not (version.isdigit() and len(version) < _VERSION_DIGITS):
        return None
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    return (text, int(version)) if _NAME.fullmatch(text) else None


def inflate(data: bytes) -> bytes:
    """RQ's `data` field without its compression; raises PickledJob, unread."""
    if data.startswith(b"["):  # plain JSON: no zlib header begins so
        return data
    try:
        text = zlib.decompress(data)
    except zlib.error:
        text = data
    if text.startswith(_PICKLE):
        raise PickledJob(
            "the job's data is pickled; jobkit never unpickles, because that runs code. "
            'Enqueue it with RQ\'s JSON serializer: Queue(..., serializer="json")'
        )
    return text


def _unpack_slowly(text: bytes) -> JobData | VanillaCall:
    try:
        function, instance, args, kwargs = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptJob(
            f"the job's data is not RQ's JSON call [function, instance, args, kwargs]: {text[:80]!r} ({error})"
        ) from error
    if instance is not None or not isinstance(function, str) or not isinstance(args, list | tuple):
        raise CorruptJob(f"the job's data names no plain function: {text[:80]!r}")
    if not isinstance(kwargs, dict):
        raise CorruptJob(f"the job's keyword arguments are not an object: {text[:80]!r}")
    if function != PERFORM:
        return VanillaCall(function, args, kwargs)
    if len(args) != 3 or not isinstance(args[0], str) or not isinstance(args[1], int):  # noqa: PLR2004 - name, version, payload
        raise CorruptJob(f"a jobkit job carries [name, version, payload], got {args!r:.80}")
    return JobData(args[0], args[1], json.dumps(args[2]).encode())


def pack_extra(
    attempts: int,
    backoff: Sequence[Any],
    tags: Mapping[str, str] | None = None,
    scheduled_for: datetime | None = None,
) -> bytes:
    """Our packed field `jk` of the job hash, JSON with one-letter keys (it is stored with every job)."""
    packed: dict[str, Any] = {"a": attempts, "b": backoff}
    if tags:
        packed["t"] = dict(tags)
    if scheduled_for is not None:
        packed["s"] = scheduled_for.isoformat()
    return json.dumps(packed, separators=(",", ":")).encode()


def with_name(extra: bytes, data: bytes, name: str) -> bytes:
    """The packed field of a job with this `data`; it says the name too where the data is compressed.

    Scripts look for the name in the data, and cannot read that.
    """
    return extra if data.startswith(b"[") else b'%b,"n":"%b"}' % (extra[:-1], name.encode())


def unpack_extra(extra: bytes) -> Extra | None:
    """The packed field; None where there is none (a vanilla job). Raises CorruptJob for one that cannot be read."""
    if not extra:
        return None
    try:
        found = json.loads(extra)
        scheduled = found.get("s")
        return Extra(
            attempts=int(found["a"]),
            backoff=list(found["b"]),
            tags=dict(found.get("t", {})),
            scheduled_for=datetime.fromisoformat(scheduled) if scheduled else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise CorruptJob(f"the job's field jk is not jobkit's JSON: {extra[:80]!r} ({error})") from error


def pack_error(text: str) -> bytes:
    """RQ's `exc_string` of a result entry."""
    return base64.b64encode(zlib.compress(storable(text).encode()))


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: a traceback may quote half a surrogate pair (an undecodable file name)."""
    return text.encode(errors="backslashreplace").decode()


def unpack_error(packed: bytes) -> str:
    """The text of an `exc_string`."""
    try:
        return zlib.decompress(base64.b64decode(packed)).decode(errors="replace")
    except (ValueError, zlib.error):
        return f"(an error text that cannot be read: {packed[:80]!r})"


def read_time(text: bytes | str | None) -> datetime | None:
    """RQ's time of a hash field (UTC); None where the field is absent, empty or no time."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.decode() if isinstance(text, bytes) else text)
    except ValueError:
        return None


def unix_time(seconds: float) -> datetime:
    """A unix time as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)
