"""Templates over a payload's fields, such as "sync:{tenant_id}": text that says which jobs belong together."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from jobkit.errors import DeclarationError, NotSerialisable, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def fields_of(template: str, who: str, what: str) -> list[str]:
    """The names of the fields that a template is filled from, in its order.

    Args:
        template: the text, with names in braces.
        who: whose template it is, for the message.
        what: the option that it was given as, for the message.

    Raises:
        DeclarationError: it is no text, or no template of plain names.

    """
    given: object = template
    if not isinstance(given, str) or not given:
        raise DeclarationError(f"{who}: {what}= expected a template such as 'mail:{{tenant_id}}', got {given!r}")
    try:
        template.encode()
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise DeclarationError(f"{who}: {what}={template!r} is no template: {error}") from error
    for _, field, layout, conversion in parts:
        if layout or conversion:
            raise DeclarationError(
                f"{who}: {what}={template!r}: expected {{{field}}} alone, without ! and : in the braces"
            )
    return [str(field) for _, field, _, _ in parts]


def check_template(template: str, fields: Iterable[str], who: str, what: str) -> None:
    """Raise DeclarationError unless it is a template over these fields; the message suggests the nearest."""
    for field in fields_of(template, who, what):
        if field not in fields:
            raise DeclarationError(
                f"{who}: {what}={template!r} names {field!r}, which is no field of the payload"
                f"{did_you_mean(field, fields)}",
            )


def fill_template(template: str, values: Mapping[str, Any], who: str, what: str) -> str:
    """The template with values in it, as the payload's JSON has them: text as it is, the rest as JSON writes it.

    Raises:
        NotSerialisable: a value is a list or an object, whose text is not the same in every process.

    """
    texts: dict[str, str] = {}
    for field in fields_of(template, who, what):
        value = values[field]
        if isinstance(value, dict | list):
            raise NotSerialisable(
                f"{who}.{field}: {what}={template!r} expected text, a number, a date or the like, got {value!r:.200}; "
                "name a field that identifies it"
            )
        texts[field] = value if isinstance(value, str) else to_json(value).decode()
    return template.format_map(texts)
