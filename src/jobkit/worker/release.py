"""Which release of the application a worker runs, told by what its processors read."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from jobkit.payloads import kind

if TYPE_CHECKING:
    from jobkit.processors import ProcessorRegistry


def release_of(registry: ProcessorRegistry) -> str:
    """A short name that workers share whose processors take the same jobs: names, aliases, versions and fields.

    Two that share it park the same jobs. Where a payload's fields cannot be told, each process is a release of its own.
    """
    known = [[each.names, kind(each.payload).version, _fields(each.payload)] for each in registry.processors()]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]


class _Quiet(GenerateJsonSchema):
    """Says nothing of defaults that are no JSON: their fields are what counts."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic's attribute


def _fields(payload: Any) -> str:
    try:
        schema = payload.model_json_schema(schema_generator=_Quiet)
        return json.dumps(schema, sort_keys=True, default=repr)  # what the application adds may be no JSON
    except Exception:  # noqa: BLE001 - a type that has no such schema, or code of the application's own that makes it
        return os.urandom(8).hex()
