"""The fingerprint by which workers know who is of their release."""

import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from jobkit import Job, Payload, processor
from jobkit.processors import ProcessorRegistry, load_processors
from jobkit.worker.release import release_of


class Line(BaseModel):
    """A part of a payload."""

    cents: int


class LongerLine(BaseModel):
    """The same in a newer release."""

    cents: int
    vat: int = 0


def registry(fields: dict[str, Any], **keywords: Any) -> ProcessorRegistry:
    """The processors of a release: one, whose payload has these fields."""
    body = {"__annotations__": fields, "__module__": __name__, "__qualname__": "Pay"}
    make: Any = type(Payload)
    payload: Any = make("Pay", (Payload,), body, **{"name": "pay", "queue": "q", **keywords})

    def pay(job: Any) -> None:
        """Nothing is paid."""

    pay.__annotations__["job"] = Job[payload]
    return load_processors([processor(payload)(pay)], entry_points=False)


OLD = {"line": Line}


def test_the_same_code_is_one_release() -> None:
    """Two processes of the same code share a release."""
    program = f"from {__name__} import *; print(release_of(registry(OLD)))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert release_of(registry(OLD)) == release_of(registry(OLD)) == other.stdout.strip()


@pytest.mark.parametrize(
    ("fields", "keywords"),
    [
        (OLD, {"name": "pay.now"}),
        (OLD, {"aliases": ["pay.old"]}),
        (OLD, {"version": 2}),
        ({"line": Line, "unit": str}, {}),
        ({"line": LongerLine}, {}),
        ({"line": list[Line]}, {}),
    ],
)
def test_what_makes_another_release(fields: dict[str, Any], keywords: dict[str, Any]) -> None:
    """A name, an alias, a version or a field more, at any depth, makes another release; so does another processor."""
    assert release_of(registry(fields, **keywords)) != release_of(registry(OLD))
    assert release_of(ProcessorRegistry()) != release_of(registry(OLD))


def test_fields_without_a_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the application's own code fails to describe a field, each process is a release of its own."""
    (pay,) = registry({"line": Line}).processors()

    def fails(**_: Any) -> None:
        raise TypeError("no schema")

    monkeypatch.setattr(pay.payload, "model_json_schema", fails)
    found = load_processors([pay], entry_points=False)
    assert release_of(found) != release_of(found)


def test_a_schema_that_is_no_json() -> None:
    """What an application adds to its schemas may be anything: it keeps no worker from starting, and counts."""

    def release(example: object) -> str:
        class Told(Payload, name="told", queue="q"):
            model_config = ConfigDict(json_schema_extra={"example": example})  # type: ignore[dict-item]

        @processor(Told)
        def tell(_: Job[Told]) -> None:
            """Nothing is told."""

        return release_of(load_processors([tell], entry_points=False))

    day = date(2026, 1, 1)
    assert release(day) == release(day) != release(date(2026, 1, 2))
    assert release({1: day, "one": day})  # keys that cannot be sorted
