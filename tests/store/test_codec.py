"""The job hash, packed and read."""

import json
import pickle
import zlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobkit.errors import CorruptJob, PickledJob
from jobkit.store.codec import (
    Extra,
    JobData,
    VanillaCall,
    pack_data,
    pack_error,
    pack_extra,
    read_time,
    unpack_data,
    unpack_error,
    unpack_extra,
)

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
TAGS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
)


@given(NAMES, st.integers(0, 10**6), VALUES, st.sampled_from([1, 3000]))
def test_data_comes_back(name: str, version: int, value: object, times: int) -> None:
    """Name, version and payload come back as they went in, compressed or not, and RQ's JSON serializer reads them."""
    payload = json.dumps([value, "x" * times]).encode()
    data = pack_data(name, version, payload)
    assert unpack_data(data) == JobData(name, version, payload)
    text = zlib.decompress(data) if data[:1] != b"[" else data
    assert json.loads(text) == ["jobkit.worker.perform", None, [name, version, json.loads(payload)], {}]


@given(NAMES, st.integers(1, 9), VALUES)
def test_data_rewritten_by_rq(name: str, version: int, value: object) -> None:
    """Data that RQ has read and saved again, in its own spacing, means the same."""
    text = json.dumps(["jobkit.worker.perform", None, [name, version, value], {}], indent=1).encode()
    found = unpack_data(zlib.compress(text))
    assert isinstance(found, JobData)
    assert (found.name, found.version, json.loads(found.payload)) == (name, version, value)


@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text(), VALUES, max_size=3))
def test_vanilla_call(args: list[object], kwargs: dict[str, object]) -> None:
    """A vanilla client's call is read with its arguments."""
    data = json.dumps(["acme.add", None, args, kwargs]).encode()
    assert unpack_data(data) == VanillaCall("acme.add", args, kwargs)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("compressed", [False, True])
def test_pickle_is_refused_unread(protocol: int, *, compressed: bool) -> None:
    """Pickled data is refused with the remedy and without reading it."""
    data = pickle.dumps(Bomb(), protocol)
    with pytest.raises(PickledJob, match='serializer="json"'):
        unpack_data(zlib.compress(data) if compressed else data)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("the pickle was read",))


@pytest.mark.parametrize("protocol", [0, 1])
def test_old_pickle_is_corrupt(protocol: int) -> None:
    """Pickles of the first protocols, which have no mark, are corrupt data, unread all the same."""
    with pytest.raises(CorruptJob):
        unpack_data(pickle.dumps(Bomb(), protocol))


HEAD = b'["jobkit.worker.perform",null,["'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff",
        b"{}",
        b"[1,2,3,4]",
        b'["f",null,[]]',
        b'["f",null,[],[]]',
        b'["f","instance",[],{}]',
        b'["jobkit.worker.perform",null,[],{}]',
        b'["jobkit.worker.perform",null,[1,2,3],{}]',
        HEAD + b'\xff",1,{}],{}]',
        HEAD + b'n",' + b"1" * 5000 + b",{}],{}]",
        HEAD + b'n",1,],{}]',
        b"[" * 100_000,
        zlib.compress(b"[" * 100_000),
        zlib.compress(b"x" * 100)[:-3],
    ],
    ids=range(15),
)
def test_corrupt_data(data: bytes) -> None:
    """Data that is no call is CorruptJob, whatever it is."""
    with pytest.raises(CorruptJob):
        unpack_data(data)


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """No bytes make the codec raise anything but CorruptJob."""
    for read in (unpack_data, unpack_extra):
        with suppress(CorruptJob):
            read(data)


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\nb", "a\x00"])
def test_bad_names(name: str) -> None:
    """A name that JSON would have to escape is refused."""
    with pytest.raises(ValueError, match="job name"):
        pack_data(name, 1, b"{}")


@given(st.integers(1, 100), TAGS, st.none() | st.datetimes(timezones=st.just(UTC)))
def test_extra_comes_back(attempts: int, tags: dict[str, str], scheduled_for: datetime | None) -> None:
    """Attempts, backoff, tags and the nominal time come back."""
    backoff = ["exp", 2, 2.0, None, 0.1]
    assert unpack_extra(pack_extra(attempts, backoff, tags, scheduled_for)) == Extra(
        attempts=attempts, backoff=backoff, tags=tags, scheduled_for=scheduled_for
    )


def test_no_extra() -> None:
    """A job without our field is a vanilla one."""
    assert unpack_extra(b"") is None


@pytest.mark.parametrize(
    "extra",
    [b"[]", b"{}", b"3", b'{"a":null,"b":[]}', b'{"a":Infinity,"b":[]}', b'{"a":1,"b":1}', b'{"a":1,"b":[],"t":3}',
     b'{"a":1,"b":[],"s":"monday"}', b"[" * 100_000],
)  # fmt: skip
def test_corrupt_extra(extra: bytes) -> None:
    """A field that is not jobkit's JSON is CorruptJob."""
    with pytest.raises(CorruptJob):
        unpack_extra(extra)


@given(st.text(st.characters()))
def test_error_comes_back(text: str) -> None:
    """Any traceback can be kept; half a surrogate pair, which UTF-8 cannot hold, is spelt out."""
    assert unpack_error(pack_error(text)) == text.encode(errors="backslashreplace").decode()


def test_unreadable_error() -> None:
    """An error text that somebody else wrote is shown as what it is."""
    assert "cannot be read" in unpack_error(b"!!")
    assert "cannot be read" in unpack_error(b"aGVsbG8=")


def test_times() -> None:
    """RQ's times are read as UTC; what is no time is none."""
    assert read_time(b"2026-03-01T02:03:04.500000Z") == datetime(2026, 3, 1, 2, 3, 4, 500000, UTC)
    assert read_time(None) is read_time(b"") is read_time(b"yesterday") is None
