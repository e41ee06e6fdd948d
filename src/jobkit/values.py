"""Values as JSON: writing, reading, and finding what does not survive the way."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

# Parts of pydantic's core schema that hold values of the application, not types.
_NOT_TYPES = frozenset({"default", "metadata", "expected", "config", "cls", "function"})
_FIELDS = frozenset({"model-fields", "dataclass-args", "typed-dict"})


@functools.lru_cache(maxsize=1024)
def adapter(annotation: Any) -> TypeAdapter[Any]:
    """Pydantic's reader and writer for a type; made once, since making one costs about 100 us."""
    return TypeAdapter(annotation)


def dump(annotation: Any, value: object) -> bytes:
    """The value as JSON, by its type; raises what pydantic raises."""
    return adapter(annotation).dump_json(value, by_alias=False, round_trip=True, warnings="error")


def load(annotation: Any, data: bytes | str) -> Any:
    """The value that `dump` wrote; raises pydantic's ValidationError."""
    return adapter(annotation).validate_json(data, by_alias=False, by_name=True)


def dump_plain(value: object) -> bytes:
    """A value without a declared type as JSON."""
    return to_json(value, inf_nan_mode="constants")


def load_plain(data: bytes | str) -> Any:
    """What plain JSON says: dicts, lists, strings, numbers, booleans and None."""
    return from_json(data, allow_inf_nan=False)


def difference(before: object, after: object, path: str = "") -> str:
    """Where two values first differ, as a path such as `lines[0].price`; the given path when it is the whole."""
    if isinstance(before, BaseModel) and type(before) is type(after):
        for field in type(before).model_fields:
            old, new = getattr(before, field), getattr(after, field)
            if old != new:
                return difference(old, new, f"{path}.{field}" if path else field)
        return path
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key, old in before.items():
            if old != after[key]:
                return difference(old, after[key], f"{path}[{key!r}]")
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                return difference(old, new, f"{path}[{index}]")
    return path


def lossy(schema: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, "secret" or "datetime") for each place of a core schema whose values JSON would lose or blur.

    It walks pydantic's own schema, so that nested models, containers, unions, dataclasses and type aliases count.
    """
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from lossy(each, path)
        return
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "datetime" and schema.get("tz_constraint") != "aware":
        yield path, "datetime"
    if _hides(schema.get("serialization")):
        yield path, "secret"
        return
    if schema.get("type") in _FIELDS:
        fields = schema["fields"]
        named = fields.items() if isinstance(fields, dict) else ((each["name"], each) for each in fields)
        for name, field in named:
            yield from lossy(field["schema"], f"{path}.{name}" if path else name)
        return
    for key, part in schema.items():
        if key not in _NOT_TYPES:
            yield from lossy(part, path)


def _hides(serialization: Any) -> bool:
    """Whether it is the writer of SecretStr, SecretBytes or Secret, which writes stars."""
    function = serialization.get("function") if isinstance(serialization, dict) else None
    name = getattr(function, "__name__", "")
    return getattr(function, "__module__", "") == "pydantic.types" and "secret" in name
