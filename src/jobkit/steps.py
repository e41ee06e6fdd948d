"""The kept values of steps: written as JSON through the function's return annotation, read back the same way."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from pydantic import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, ValidationError
from pydantic_core import PydanticSerializationError

from jobkit import values
from jobkit.errors import DeclarationError, NotSerialisable, UnkeptStep

if typing.TYPE_CHECKING:
    from collections.abc import Callable

_NOTHING = object()


def keep(name: str, fn: Callable[..., Any], value: object) -> bytes:
    """The step's value as JSON, which was read back and compared.

    Raises:
        UnkeptStep: it does not come back as it went in.
        DeclarationError: a plain function gave an awaitable.

    """
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise DeclarationError(f"step {name!r}: {_called(fn)} gave an awaitable; pass the async function itself")
    annotation = _returns(fn)
    try:
        if annotation is _NOTHING:
            data = values.dump_plain(value)
            back = values.load_plain(data)
        else:
            data = values.dump(annotation, value)
            back = values.load(annotation, data)
    except (PydanticSerializationError, ValidationError, ValueError) as error:
        raise UnkeptStep(f"step {name!r}: {_called(fn)} gave a value that JSON cannot hold: {error}") from error
    if back != value:
        where = values.difference(value, back)
        advice = "annotate what the function returns" if annotation is _NOTHING else f"it is annotated {annotation!r}"
        raise UnkeptStep(
            f"step {name!r}: what {_called(fn)} gave does not come back from JSON as it went in"
            f"{f' (at {where})' if where else ''}; {advice}",
        )
    return data


def recall(name: str, fn: Callable[..., Any], data: bytes) -> Any:
    """The value that an earlier attempt kept.

    Raises:
        NotSerialisable: it does not fit what the function returns today.

    """
    annotation = _returns(fn)
    try:
        return values.load_plain(data) if annotation is _NOTHING else values.load(annotation, data)
    except ValueError as error:
        raise NotSerialisable(
            f"step {name!r}: the value that an earlier attempt kept does not fit what {_called(fn)} returns now; "
            f"give the step a new name: {error}",
        ) from error


def _returns(fn: Callable[..., Any]) -> Any:
    """The return annotation of a function, or a mark that there is none to go by."""
    if isinstance(fn, type):
        return fn if _has_schema(fn) else _NOTHING
    target: Any = fn
    while hasattr(target, "func") and not hasattr(target, "__annotations__"):
        target = target.func  # functools.partial
    if not hasattr(target, "__annotations__") or not hasattr(target, "__name__"):
        target = type(target).__call__
    found = getattr(target, "__annotations__", {}).get("return", _NOTHING)
    if isinstance(found, str) or typing.get_args(found):
        try:
            found = typing.get_type_hints(target).get("return", _NOTHING)
        except (NameError, TypeError):
            return _NOTHING  # the name exists for type checkers only: the value goes as plain JSON, and is compared
    return found if _has_schema(found) else _NOTHING


def _has_schema(annotation: Any) -> bool:
    if annotation is _NOTHING or annotation is Any or annotation is object or isinstance(annotation, typing.TypeVar):
        return False
    try:
        values.adapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError):
        return False
    return True


def _called(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)
