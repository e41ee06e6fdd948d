import enum
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from jobkit.dedupe import Dedupe
from jobkit.errors import CorruptJob, DeclarationError
from jobkit.payloads import Payload
from jobkit.results import PLAIN, Draft, EnqueueOptions, draft
from jobkit.templates import fill_template


class Sync(Payload, name="sync", queue="sync"):
    tenant_id: str


SYNC = Sync(tenant_id="t_1")
WAITS = Dedupe("sync:{tenant_id}", mode="debounce", within=timedelta(minutes=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": ""}, "Dedupe: key= expected a template such as 'mail:{tenant_id}', got ''"),
        ({"key": None}, "Dedupe: key= expected a template"),
        ({"key": "sync:{"}, "Dedupe: key='sync:{' is no template"),
        ({"key": "\udc80"}, "is no template: 'utf-8' codec can't encode"),
        ({"key": "{n:05}"}, "expected {n} alone, without ! and : in the braces"),
        ({"key": "{n!r}"}, "expected {n} alone"),
        ({}, "Dedupe: expected key"),
        (
            {"key": "k", "mode": "trottle"},
            "expected 'reject', 'throttle' or 'debounce', got 'trottle'; did you mean 'th",
        ),
        ({"key": "k", "mode": None}, "expected 'reject', 'throttle' or 'debounce', got None"),
        ({"key": "k", "mode": ["reject"]}, "expected 'reject', 'throttle' or 'debounce', got"),
        ({"key": "k", "within": 5}, "expected none with mode='reject'.*did you mean mode='throttle'"),
        ({"key": "k", "mode": "throttle"}, "expected within= .seconds. with mode='throttle'"),
        ({"key": "k", "mode": "debounce"}, "expected within= .seconds. with mode='debounce'"),
        ({"key": "k", "mode": "throttle", "within": 0}, "within=.: expected more than 0 seconds, got 0"),
        ({"key": "k", "mode": "throttle", "within": "1s"}, "within=.: expected seconds"),
        ({"key": "k", "mode": "throttle", "within": True}, "within=.: expected seconds"),
        ({"key": "k", "mode": "throttle", "within": 1e10}, "within=.: expected at most"),
        ({"key": "k", "modus": "reject"}, "unknown option 'modus'; did you mean 'mode'"),
    ],
)
def test_wrong_values_are_told(options: dict[str, Any], message: str) -> None:
    """A key that is no template, an unknown mode, a time that is missing or too much: each is refused when made."""
    with pytest.raises(DeclarationError, match=message):
        Dedupe(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dedupe": Dedupe("{tenan_id}")}, "Sync: dedupe key='{tenan_id}' names 'tenan_id'.*did you mean 'tenant_id'"),
        ({"dedupe": Dedupe("{}")}, "names '', which is no field"),
        ({"dedupe": Dedupe("{tenant_id.x}")}, "names 'tenant_id.x', which is no field"),
        ({"dedupe": "sync"}, "dedupe=.: expected a Dedupe, got 'sync'"),
        ({"dedupe": Dedupe}, r"did you mean Dedupe\(...\)"),
        ({"dedupe": WAITS, "delay": 5}, "expected delay= or at=, or dedupe= with mode='debounce', got both: delay=5.0"),
        ({"dedupe": WAITS, "at": datetime(2030, 1, 1, tzinfo=UTC)}, "got both: at=datetime"),
    ],
)
def test_wrong_drafts_are_told(options: dict[str, Any], message: str) -> None:
    """A key over fields that the payload does not have, and a debounce with a time of its own, are refused."""
    with pytest.raises(DeclarationError, match=message):
        draft(SYNC, **options)


def test_drafts_keep_it() -> None:
    """A draft has it among its options, and one in another mode may be delayed."""
    assert draft(SYNC, dedupe=WAITS).options == EnqueueOptions(dedupe=WAITS)
    assert draft(SYNC, dedupe=Dedupe("k"), delay=5).options.delay == 5
    assert draft(SYNC).options is PLAIN


@pytest.mark.parametrize("dedupe", [Dedupe("sync:{tenant_id}"), WAITS, Dedupe("k", mode="throttle", within=0.5)])
def test_it_travels_with_a_draft(dedupe: Dedupe) -> None:
    """An outbox row brings it back; a row of an earlier release has none."""
    one = draft(SYNC, dedupe=dedupe)
    assert Draft.from_json(one.to_json(), Sync) == one
    old = one.to_json().partition(',"dedupe"')[0] + "}"
    assert Draft.from_json(old, Sync).options == PLAIN


@pytest.mark.parametrize("row", ['{"key":"k","mode":"often"}', '"k"', '{"ky":"k"}', "[1]"])
def test_rows_that_cannot_be_read_are_told(row: str) -> None:
    """A row whose dedupe is none is no draft."""
    whole = draft(SYNC, dedupe=Dedupe("k")).to_json()
    broken = whole.partition('"dedupe":')[0] + f'"dedupe":{row}}}'
    with pytest.raises(CorruptJob, match="expected the JSON of a draft"):
        Draft.from_json(broken, Sync)


def test_the_server_is_told_a_digest() -> None:
    """The key goes over the wire as 32 hexadecimal digits, whatever it holds; the time as whole ms, 1 at least."""
    wire = WAITS.to_wire({"tenant_id": "a b\n" * 1000}, "Sync")
    assert (len(wire["k"]), wire["m"], wire["w"]) == (32, "debounce", 60_000)
    assert Dedupe("sync:{tenant_id}").to_wire({"tenant_id": "x"}, "Sync") == {
        "k": Dedupe("sync:x").to_wire({}, "Other")["k"],
        "m": "reject",
    }
    assert Dedupe("k", mode="throttle", within=1e-9).to_wire({}, "Sync")["w"] == 1


def test_templates_are_filled_as_json_has_it() -> None:
    """Text goes in as it is, and anything else as its JSON, so that every process makes the same key."""

    class Colour(enum.StrEnum):
        RED = "red"

    class Many(Payload, name="many", queue="sync"):
        text: str = "{text}"
        number: int = 7
        share: float = 0.5
        flag: bool = True
        nothing: str | None = None
        colour: Colour = Colour.RED
        uuid: UUID = UUID(int=7)

    values = Many().model_dump(mode="json")
    template = "{{}}{text}/{number}/{share}/{flag}/{nothing}/{colour}/{uuid}"
    filled = fill_template(template, values, "Many", "dedupe key")
    assert filled == "{}{text}/7/0.5/true/null/red/00000000-0000-0000-0000-000000000007"
