import json
import types
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Generic, NamedTuple

import pytest
from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    FutureDatetime,
    NaiveDatetime,
    PastDatetime,
    PrivateAttr,
    Secret,
    SecretBytes,
    SecretStr,
    ValidationError,
)
from typing_extensions import TypedDict, TypeVar

from jobkit import checks
from jobkit.errors import CorruptJob, DeclarationError, NotSerialisable, Parked, WrongPayload
from jobkit.payloads import Kind, Payload, decode, encode, kind, parse

R_co = TypeVar("R_co", covariant=True, default=None)


class Queues(StrEnum):
    INVOICES = "invoices"


class Invoice(BaseModel):
    number: str
    cents: int


class Special(Invoice):
    discount: int = 0


class Tenant(Payload[R_co], Generic[R_co], abstract=True):
    tenant_id: str


class Read(Tenant[Invoice], name="invoice.read", queue=Queues.INVOICES, aliases=["invoice.ocr"], mutex="i:{tenant_id}"):
    name: str = "invoice"
    queue: str = "of the printer"
    raw: bytes = b""
    at: AwareDatetime | None = None
    amount: Decimal = Decimal(0)
    day: date | None = None
    tags: frozenset[str] = frozenset()


class Loose(Payload, name="loose", queue="invoices"):
    any: Any = None
    base: Invoice | None = None
    hidden: int = Field(default=0, exclude=True)
    rows: list[dict[str, Any]] = Field(default_factory=list)
    ratio: float = 0.0
    _cached: int = PrivateAttr(default=0)

    def remember(self) -> None:
        self._cached = 1


def declare(annotations: dict[str, Any] | None = None, base: Any = Payload, /, **keywords: Any) -> Any:
    """A payload class made now."""
    keywords = keywords or {"name": "x", "queue": "q"}
    return types.new_class("Made", (base,), keywords, lambda ns: ns.update(__annotations__=annotations or {}))


def test_kind() -> None:
    """A class's keywords are its kind; a StrEnum's member is stored as its value, and fields may be called the same."""
    assert kind(Read) == Kind("invoice.read", "invoices", 1, ("invoice.ocr",), "i:{tenant_id}", Invoice)
    assert type(kind(Read).queue) is str
    one = Read(tenant_id="t")
    assert kind(one) is kind(Read)
    assert (one.name, one.queue) == ("invoice", "of the printer")


def test_result_type_through_bases() -> None:
    """The declared result is found through generic bases; None where nothing is declared."""

    class Pair(Tenant[tuple[int, R_co]], Generic[R_co], abstract=True): ...

    class Two(Pair[str], name="two", queue="q"): ...

    class Plain(Tenant, name="plain", queue="q"): ...

    class Nothing(Payload[None], name="nothing", queue="q"): ...

    class Direct(Payload[int | None], name="direct", queue="q"): ...

    class Child(Direct, name="child", queue="q"): ...

    assert kind(Plain).result is types.NoneType
    assert kind(Nothing).result is types.NoneType
    assert kind(Direct).result == int | None
    assert kind(Child).result == int | None
    assert kind(Two).result != Any


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"queue": "q"}, r"Made: expected name=, e\.g\. class Made\(Payload, name='invoice\.read'"),
        ({"name": "x"}, "Made: expected queue="),
        ({"abstract": False}, "Made: expected name= and queue=.*abstract=True"),
        ({"nam": "x", "queue": "q"}, "Made: unknown class keyword 'nam'; did you mean 'name'"),
        ({"name": "a b", "queue": "q"}, "Made: name=: expected 1 to 200 letters.*got 'a b'"),
        ({"name": "", "queue": "q"}, "Made: name=: expected"),
        ({"name": 3, "queue": "q"}, "Made: name=: expected a name"),
        ({"name": "x", "queue": "q{0}"}, "Made: queue=: expected"),
        ({"name": "x", "queue": "q", "version": 0}, "Made: version=: expected a whole number of 1 or more, got 0"),
        ({"name": "x", "queue": "q", "version": True}, "Made: version=: expected a whole number"),
        ({"name": "x", "queue": "q", "version": "2"}, "Made: version=: expected a whole number"),
        ({"name": "x", "queue": "q", "aliases": "old"}, "Made: aliases= expected a list of names, got 'old'"),
        ({"name": "x", "queue": "q", "aliases": ["a b"]}, "Made: aliases=: expected"),
        ({"name": "x", "queue": "q", "mutex": "{tenan_id}"}, "names 'tenan_id'.*did you mean 'tenant_id'"),
        ({"name": "x", "queue": "q", "mutex": "{tenant_id"}, "is no template"),
        ({"name": "x", "queue": "q", "mutex": 3}, "mutex= expected a template"),
        ({"name": "x", "queue": "q", "abstract": "yes"}, "abstract= expected True or False"),
        ({"name": "x", "queue": "q", "frozen": False}, "frozen and refuses extra fields"),
        ({"name": "x", "queue": "q", "extra": "allow"}, "frozen and refuses extra fields"),
    ],
)
def test_wrong_keywords_are_told_when_the_class_is_made(keywords: dict[str, Any], message: str) -> None:
    """A wrong, missing or misspelt class keyword names the class, what was expected and what came."""
    with pytest.raises(DeclarationError, match=message):
        declare({"tenant_id": str}, **keywords)


def test_abstract_bases_are_no_jobs() -> None:
    """An abstract base has no kind, even below a payload that has one."""
    with pytest.raises(DeclarationError, match="Tenant: expected a payload class with name= and queue="):
        kind(Tenant)
    with pytest.raises(DeclarationError, match="Made"):
        kind(declare({}, Read, abstract=True))


class Row(TypedDict):
    when: datetime


class Pair(NamedTuple):
    when: datetime


@dataclass
class Box:
    when: list[datetime]


class Inner(BaseModel):
    token: SecretStr | None = None


class Outer(BaseModel):
    parts: list[dict[str, Inner]]


@pytest.mark.parametrize(
    ("annotation", "field"),
    [
        (datetime, "f"),
        (datetime | None, "f"),
        (PastDatetime, "f"),
        (FutureDatetime, "f"),
        (NaiveDatetime, "f"),
        (dict[str, list[datetime]], "f"),
        (tuple[int, datetime], "f"),
        (dict[datetime, int], "f"),
        (Row, "f.when"),
        (Pair, "f"),
        (Box, "f.when"),
        (OrderedDict[str, Box], "f.when"),
    ],
)
def test_bare_datetimes_are_refused_when_the_class_is_made(annotation: Any, field: str) -> None:
    """A datetime that need not have a timezone is found wherever it stands, and the remedy is AwareDatetime."""
    with pytest.raises(DeclarationError, match=rf"Made\.{field}.*AwareDatetime"):
        declare({"f": annotation})


@pytest.mark.parametrize(
    ("annotation", "field"),
    [
        (SecretStr, "f"),
        (SecretBytes | None, "f"),
        (Secret[int], "f"),
        (list[Secret[date]], "f"),
        (Inner, "f.token"),
        (Outer, "f.parts.token"),
    ],
)
def test_secrets_are_refused_when_the_class_is_made(annotation: Any, field: str) -> None:
    """A secret is found wherever it stands; it is carried as a reference."""
    with pytest.raises(DeclarationError, match=rf"Made\.{field}: a secret .*secret_ref"):
        declare({"f": annotation})


def test_a_field_of_a_class_that_comes_later_is_checked_when_it_is_known() -> None:
    """A forward reference delays the check to the moment it is resolved."""
    made = declare({"later": "Later"})

    class Later(BaseModel):
        when: datetime

    with pytest.raises(DeclarationError, match=r"Made\.later\.when"):
        made.model_rebuild(_types_namespace={"Later": Later})


def test_naive_datetimes_are_refused_as_values() -> None:
    """A value without a timezone does not enter a payload."""
    with pytest.raises(ValidationError, match="timezone"):
        Read(tenant_id="t", at=datetime(2026, 1, 1))  # noqa: DTZ001 - the naive one is the point


def test_payloads_are_frozen_and_refuse_extra_fields_and_infinite_floats() -> None:
    """What a payload carries is fixed, known and finite."""
    one = Read(tenant_id="t")
    with pytest.raises(ValidationError, match="frozen"):
        one.tenant_id = "other"
    with pytest.raises(ValidationError, match="tenant"):
        Read(tenant_id="t", tenant="t")
    with pytest.raises(ValidationError, match="finite"):
        Loose(ratio=float("inf"))


def test_round_trip() -> None:
    """What goes in comes back: bytes that are no text, decimals, dates, sets, moments."""
    one = Read(
        tenant_id="t",
        raw=b"\xff\x00",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        amount=Decimal("12.50"),
        day=date(2026, 2, 28),
        tags=frozenset({"a"}),
    )
    data = encode(one)
    assert decode(Read, data, 1) == one
    assert decode(Read, data.decode(), 1) == one
    assert decode(Read, json.loads(data), 1) == one


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"hidden": 7}, "hidden"),
        ({"base": Special(number="1", cents=2, discount=3)}, "base"),
        ({"any": (1, 2)}, "any"),
        ({"any": {1: "a"}}, "any"),
        ({"any": Colour.RED}, "any"),
        ({"any": datetime(2026, 1, 1, tzinfo=UTC)}, "any"),
        ({"any": float("nan")}, "any"),
        ({"any": object()}, "any"),
        ({"any": b"\xff"}, "any"),
        ({"rows": [{}, {"deep": {"set": {1}}}]}, r"rows\[1\]\['deep'\]\['set'\]"),
    ],
)
def test_a_field_that_does_not_come_back_is_named(values: Any, field: str) -> None:
    """What JSON would lose in silence raises at the encode, and the message names the place."""
    with pytest.raises(NotSerialisable, match=rf"Loose\.{field}: "):
        encode(Loose(**values))


def test_private_attributes_do_not_travel() -> None:
    """A private attribute that was set is told, because it would be lost."""
    one = Loose()
    one.remember()
    with pytest.raises(NotSerialisable, match="private attributes"):
        encode(one)


def test_a_payload_made_without_validation_is_checked() -> None:
    """model_construct cannot bring a wrong value or a missing field past the encode."""
    with pytest.raises(NotSerialisable, match=r"Read\.tenant_id"):
        encode(Read.model_construct())
    with pytest.raises(NotSerialisable, match=r"Read\.tenant_id"):
        encode(Read.model_construct(tenant_id=3))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Read, r"got the class Read; did you mean Read\(\.\.\.\)\?"),
        (Invoice(number="1", cents=1), "expected a payload .*got Invoice"),
        ({"tenant_id": "t"}, "expected a payload"),
        (None, "expected a payload"),
    ],
)
def test_what_is_no_payload_is_refused(value: Any, message: str) -> None:
    """The class, another model and a dict are told apart from a payload."""
    with pytest.raises(WrongPayload, match=message):
        encode(value)


class Upgraded(Payload, name="up", queue="q", version=3):
    total_cents: int

    @classmethod
    def upgrade(cls, data: Any, version: Any) -> dict[str, Any]:
        if version < 2:
            data["total"] = data.pop("sum")
        return {"total_cents": data["total"] * 100}


def test_older_data_passes_through_upgrade() -> None:
    """Data of each older version reaches this one; data of this version is not touched."""
    assert decode(Upgraded, b'{"sum": 1}', 1) == Upgraded(total_cents=100)
    assert decode(Upgraded, {"total": 2}, 2) == Upgraded(total_cents=200)
    assert decode(Upgraded, b'{"total_cents": 3}', 3) == Upgraded(total_cents=3)


def test_an_upgrade_that_fails_makes_the_job_corrupt() -> None:
    """An error in `upgrade` is told with its versions, and kept as the cause."""
    with pytest.raises(CorruptJob, match=r"up: Upgraded\.upgrade could not bring version 2 to 3: KeyError"):
        decode(Upgraded, b"{}", 2)


def test_newer_data_is_parked() -> None:
    """A newer version, or a field this class does not know, waits for a worker that does."""
    with pytest.raises(Parked, match="written by version 4; this worker knows 3"):
        decode(Upgraded, b"{}", 4)
    with pytest.raises(Parked, match="field colour is unknown") as caught:
        decode(Upgraded, b'{"total_cents": 1, "colour": "red"}', 3)
    assert caught.value.reason == str(caught.value)


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (b"{}", 3),
        (b'{"total_cents": "many"}', 3),
        (b'{"total_cents"', 3),
        (b"[]", 3),
        (None, 3),
        (b"[]", 1),
        (b"{", 1),
        (b"{}", 0),
        (b"{}", "3"),
        (b"{}", None),
        (b"{}", True),
    ],
)
def test_data_that_does_not_fit_is_corrupt(data: Any, version: Any) -> None:
    """What neither this class nor its upgrade can read is corrupt, whatever it is."""
    with pytest.raises(CorruptJob, match=r"^up"):
        decode(Upgraded, data, version)


def test_parse_names_each_field() -> None:
    """JSON that a person wrote is told field by field, with the nearest name for a misspelt one."""
    assert parse(Read, '{"tenant_id": "t"}') == Read(tenant_id="t")
    with pytest.raises(WrongPayload, match=r"invoice\.read: tenant_id: Field required; tenantid: .*'tenant_id'"):
        parse(Read, '{"tenantid": "t"}')
    with pytest.raises(WrongPayload, match="Invalid JSON"):
        parse(Read, "{")


def test_aliases_of_fields_do_not_travel() -> None:
    """A field with an alias is written and read by its own name."""

    class Aliased(Payload, name="aliased", queue="q"):
        amount: int = Field(alias="amountInCents")

    one = Aliased(amountInCents=3)
    assert encode(one) == b'{"amount":3}'
    assert decode(Aliased, b'{"amount":3}', 1) == one


@pytest.mark.parametrize("value", ["", "a b", "x" * 201, "ä", 3, None])
def test_job_ids(value: Any) -> None:
    """An id that RQ's tools could not carry is refused; one made here can."""
    assert checks.job_id(checks.new_job_id())
    with pytest.raises(DeclarationError, match="job_id: expected 1 to 200 letters, digits, _ and -"):
        checks.job_id(value)
