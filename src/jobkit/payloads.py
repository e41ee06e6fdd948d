"""Payload: what a job carries. The class is the job's kind: a stable name, its queue, a version and a result type."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, cast, overload

import attrs
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json
from typing_extensions import TypeVar, dataclass_transform

from jobkit import checks
from jobkit.errors import CorruptJob, DeclarationError, NotSerialisable, Parked, WrongPayload, did_you_mean
from jobkit.templates import check_template
from jobkit.values import difference, lossy

if TYPE_CHECKING:
    from collections.abc import Mapping

R_co = TypeVar("R_co", covariant=True, default=None)

_KEYWORDS = ("name", "queue", "version", "aliases", "mutex", "abstract")
_REMEDIES = {
    "datetime": "a datetime without a timezone means another moment on each machine; declare pydantic.AwareDatetime",
    "secret": "a secret would be stored in Redis, or as stars; carry a reference (secret_ref: str) and resolve it in "
    "the processor",
}


@attrs.frozen
class Kind:
    """What a payload's class declares about itself; `kind(ReadInvoice)` gives it.

    Attributes:
        name: the stable name that goes over the wire; the class may move or be renamed.
        queue: the queue its jobs wait in.
        version: of its fields, from 1; raise it when old data needs `upgrade`.
        aliases: earlier names, under which jobs may still be waiting.
        mutex: a template such as "email:{tenant_id}"; kept here for queues that honour it.
        result: the type that its processor gives back; NoneType when it gives nothing.

    """

    name: str
    queue: str
    version: int = 1
    aliases: tuple[str, ...] = ()
    mutex: str | None = None
    result: Any = NoneType


if TYPE_CHECKING:
    # The face that type checkers read: mypy and pyright check class keywords only where the metaclass is `type`.
    @dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
    class Payload(Generic[R_co]):
        """What a job carries: a frozen pydantic model that declares its job's kind.

        class ReadInvoice(Payload[Invoice], name="invoice.read", queue="invoices"):
            invoice_id: str

        Extra fields, infinite floats, bare datetimes and secrets are refused; bytes travel as base64.
        `abstract=True` makes a base that other payloads share and that is no kind itself.
        """

        @overload
        def __init_subclass__(cls, *, abstract: Literal[True]) -> None: ...
        @overload
        def __init_subclass__(
            cls,
            *,
            name: str,
            queue: str,
            version: int = 1,
            aliases: Sequence[str] = (),
            mutex: str | None = None,
        ) -> None: ...
        def __init_subclass__(cls, **kwargs: Any) -> None: ...
        def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:  # noqa: D102 - pydantic's
            ...
        def model_dump(self, *, mode: Literal["json", "python"] = "python") -> dict[str, Any]:  # noqa: D102 - pydantic's
            ...
        def model_dump_json(self) -> str:  # noqa: D102 - pydantic's
            ...
        @classmethod
        def model_validate(cls, obj: Any) -> Self:  # noqa: D102 - pydantic's
            ...
        @classmethod
        def model_json_schema(cls) -> dict[str, Any]:  # noqa: D102 - pydantic's
            ...
        @classmethod
        def upgrade(cls, data: dict[str, Any], version: int) -> dict[str, Any]:
            """Bring the data of an older version to this one; the default returns it unchanged."""
            ...

else:

    class Payload(BaseModel, Generic[R_co]):
        """What a job carries: a frozen pydantic model that declares its job's kind.

        class ReadInvoice(Payload[Invoice], name="invoice.read", queue="invoices"):
            invoice_id: str

        Extra fields, infinite floats, bare datetimes and secrets are refused; bytes travel as base64.
        `abstract=True` makes a base that other payloads share and that is no kind itself.
        """

        model_config = ConfigDict(
            frozen=True,
            extra="forbid",
            ser_json_bytes="base64",
            val_json_bytes="base64",
            allow_inf_nan=False,
        )
        __jobkit__: typing.ClassVar[Kind | None] = None

        def __init_subclass__(cls, **keywords: Any) -> None:
            for unknown in keywords.keys() - set(_KEYWORDS):
                raise DeclarationError(
                    f"{cls.__qualname__}: unknown class keyword {unknown!r}{did_you_mean(unknown, _KEYWORDS) or '.'} "
                    f"A payload takes {', '.join(_KEYWORDS)}.",
                )
            super().__init_subclass__()

        @classmethod
        def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
            if cls.__pydantic_generic_metadata__["origin"] is not None:
                return  # Payload[Invoice]: made by the subscription, declares nothing
            if not cls.model_config.get("frozen") or cls.model_config.get("extra") != "forbid":
                raise DeclarationError(
                    f"{cls.__qualname__}: a payload is frozen and refuses extra fields; take the change of "
                    "model_config back, and carry free-form data in a field of type dict[str, JsonValue]",
                )
            abstract = keywords.pop("abstract", False)
            if not isinstance(abstract, bool):
                raise DeclarationError(f"{cls.__qualname__}: abstract= expected True or False, got {abstract!r}")
            cls.__jobkit__ = None if abstract else _declare(cls, **keywords)

        @classmethod
        def __pydantic_on_complete__(cls) -> None:
            # Not in __pydantic_init_subclass__: a field may name a class that is defined further down.
            for path, fault in lossy(cls.__pydantic_core_schema__):
                raise DeclarationError(f"{cls.__qualname__}.{path}: {_REMEDIES[fault]}")

        @classmethod
        def upgrade(cls, data: dict[str, Any], version: int) -> dict[str, Any]:  # noqa: ARG003 - for subclasses
            """Bring the data of an older version to this one; the default returns it unchanged."""
            return data


P = TypeVar("P", bound=Payload[object])
P_co = TypeVar("P_co", bound=Payload[object], covariant=True)


def _declare(
    cls: type[Any],
    *,
    name: str | None = None,
    queue: str | None = None,
    version: int = 1,
    aliases: Sequence[str] = (),
    mutex: str | None = None,
) -> Kind:
    who = cls.__qualname__
    if name is None or queue is None:
        missing = " and ".join(each for each, value in (("name=", name), ("queue=", queue)) if value is None)
        raise DeclarationError(
            f"{who}: expected {missing}, e.g. class {who}(Payload, name='invoice.read', queue='invoices'); "
            "a base that payloads share says abstract=True",
        )
    given: object = aliases
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise DeclarationError(f"{who}: aliases= expected a list of names, got {aliases!r}")
    if mutex is not None:
        check_template(mutex, cls.model_fields, who, "mutex")
    return Kind(
        name=checks.name(name, f"{who}: name="),
        queue=checks.name(queue, f"{who}: queue="),
        version=checks.whole(version, f"{who}: version=", least=1),
        aliases=tuple(checks.name(each, f"{who}: aliases=") for each in aliases),
        mutex=mutex,
        result=_result_of(cls, {}),
    )


def _result_of(cls: type[Any], bound: dict[Any, Any]) -> Any:
    """The X of the Payload[X] that the class descends from, through generic bases of the application."""
    for base in cls.__bases__:
        meta = base.__dict__.get("__pydantic_generic_metadata__")
        if base is Payload or meta is None:
            continue
        origin = meta["origin"]
        if origin is None:
            return _result_of(base, {})
        args = [bound.get(each, NoneType) if _is_variable(each) else each for each in meta["args"]]
        if origin is Payload:
            return NoneType if args[0] is None else args[0]
        return _result_of(origin, dict(zip(origin.__pydantic_generic_metadata__["parameters"], args, strict=False)))
    return NoneType


def _is_variable(each: object) -> bool:
    return isinstance(each, typing.TypeVar)


def kind(payload: Payload[object] | type[Payload[object]]) -> Kind:
    """What the payload's class declares.

    Raises:
        DeclarationError: it is no payload, or an abstract base.

    """
    found: Kind | None = getattr(payload, "__jobkit__", None)
    if found is None:
        who = payload.__qualname__ if isinstance(payload, type) else type(payload).__qualname__
        raise DeclarationError(
            f"{who}: expected a payload class with name= and queue=; an abstract base cannot be a job",
        )
    return found


def check_payload(value: object, what: str) -> Payload[Any]:
    """The value itself, when it is a payload that can be a job.

    Raises:
        WrongPayload: it is a class, or something other than a payload.
        DeclarationError: its class is abstract.

    """
    if getattr(type(value), "__jobkit__", None) is not None and isinstance(value, Payload):
        return value  # the usual case, which a bulk asks about thrice a job
    if isinstance(value, type):
        raise WrongPayload(
            f"{what}: expected a payload, got the class {value.__qualname__}; did you mean {value.__qualname__}(...)?",
        )
    if not isinstance(value, Payload):
        raise WrongPayload(f"{what}: expected a payload (a subclass of jobkit.Payload), got {value!r:.200}")
    kind(cast("Payload[object]", value))
    return value


def encode(payload: Payload[object]) -> bytes:
    """The payload as JSON, which was read back and compared.

    Raises:
        NotSerialisable: a field does not come back as it went in; the message names it.
        WrongPayload: it is no payload.

    """
    model: Any = check_payload(payload, "encode")
    cls = type(model)
    try:
        data: bytes = cls.__pydantic_serializer__.to_json(model, by_alias=False, round_trip=True, warnings="error")
        back = cls.__pydantic_validator__.validate_json(data, by_alias=False, by_name=True)
    except PydanticSerializationError as error:
        raise NotSerialisable(f"{cls.__qualname__}.{_unwritable(model)}: cannot be written as JSON: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise NotSerialisable(
            f"{cls.__qualname__}.{_path(first['loc'])}: does not come back from JSON: {first['msg']}; "
            "declare a type whose JSON can be read back",
        ) from error
    if back != model:
        field = difference(model, back) or "(private attributes)"
        raise NotSerialisable(
            f"{cls.__qualname__}.{field}: does not come back from JSON as it went in; secrets, excluded fields, "
            "private attributes, ambiguous unions and subclasses of the declared type are lost on the way",
        )
    return data


def _unwritable(model: Any) -> str:
    fields: dict[str, Any] = type(model).model_fields
    for field in fields:
        try:
            model.__pydantic_serializer__.to_json(model, include={field}, warnings="error")
        except PydanticSerializationError:
            return field
    return "(whole)"


def decode(cls: type[P], data: bytes | str | object, version: int) -> P:
    """The payload from what `encode` wrote: JSON, or the object that was read from JSON.

    Args:
        cls: the payload's class, as this process knows it.
        data: JSON as bytes or str, or the dict that was read from it.
        version: the version of the class that wrote it; older data passes through `upgrade`.

    Raises:
        Parked: written by newer code: a higher version, or a field that this class does not know.
        CorruptJob: it does not fit the class.

    """
    model: Any = cls
    known = kind(cls)
    if version != known.version:
        data = _upgrade(model, known, data, version)
    elif not isinstance(data, bytes | str):
        data = to_json(data)
    try:
        out: P = model.__pydantic_validator__.validate_json(data, by_alias=False, by_name=True)
    except ValidationError as error:
        raise _verdict(error, known, version) from error
    return out


def _upgrade(model: Any, known: Kind, data: Any, version: int) -> bytes:
    given: object = version
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise CorruptJob(f"{known.name}: expected a version (a whole number from 1), got {version!r}")
    if version > known.version:
        raise Parked(f"{known.name} was written by version {version}; this worker knows {known.version}: update it")
    try:
        old = from_json(data) if isinstance(data, bytes | str) else data
    except ValueError as error:
        raise CorruptJob(f"{known.name}: its payload is no JSON: {error}") from error
    if not isinstance(old, dict):
        raise CorruptJob(f"{known.name}: expected an object as its payload, got {old!r:.200}")
    try:
        return to_json(model.upgrade(old, version))
    except Exception as error:  # the application's code: whatever it raises means that the data stays old
        raise CorruptJob(
            f"{known.name}: {model.__qualname__}.upgrade could not bring version {version} to {known.version}: "
            f"{error!r}",
        ) from error


def _verdict(error: ValidationError, known: Kind, version: int) -> Parked | CorruptJob:
    faults = error.errors(include_url=False, include_input=False)
    unknown = [_path(each["loc"]) for each in faults if each["type"] == "extra_forbidden"]
    if unknown:
        return Parked(f"{known.name}: field {', '.join(unknown)} is unknown to this worker: update it")
    told = "; ".join(f"{_path(each['loc'])}: {each['msg']}" for each in faults)
    return CorruptJob(
        f"{known.name}: its payload (version {version}) does not fit version {known.version}: {told}. A new required "
        "field needs a default, or version= and upgrade()",
    )


def parse(cls: type[P], data: bytes | str) -> P:
    """A payload from JSON that a person or another program wrote.

    Raises:
        WrongPayload: it does not fit; the message names each field.

    """
    model: Any = cls
    try:
        out: P = model.__pydantic_validator__.validate_json(data, by_alias=False, by_name=True)
    except ValidationError as error:
        told: list[str] = []
        for each in error.errors(include_url=False, include_input=False):
            path = _path(each["loc"])
            hint = did_you_mean(path, model.model_fields) if each["type"] == "extra_forbidden" else ""
            told.append(f"{path}: {each['msg']}{hint}")
        raise WrongPayload(f"{kind(cls).name}: {'; '.join(told)}") from error
    return out


def _path(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(each) for each in loc) or "(whole)"
