"""What the `data` field of a jobkit job names: the function that a plain `rq worker` calls."""

from __future__ import annotations

import importlib
import os
from typing import Any

from pydantic_core import from_json

from jobkit.errors import ConfigurationError, Unrecoverable
from jobkit.payloads import decode


def perform(name: str, version: int, payload: dict[str, Any]) -> Any:
    """Run a jobkit job's processor in a plain RQ worker; the result as JSON values.

    The app is the one that JOBKIT_APP names (`module:attr`). Follow-ups are enqueued after the processor has returned.
    A plain RQ worker has none of jobkit's fences, steps, timeouts of threads or retries with waits.

    Raises ConfigurationError without an app, Unrecoverable for a processor that snoozes, and what the processor raises.
    """
    with _kit() as kit:
        processor = kit.registry.find(name)
        result = kit.run(decode(processor.payload, payload, version))
        if result.outcome == "snoozed":
            raise Unrecoverable(
                f"{name} was snoozed ({result.reason}), which a plain RQ worker cannot do: run it with `jobkit worker`"
            )
        if result.outcome == "cancelled":
            return None
        if result.then:
            kit.enqueue_many(list(result.then))
        return from_json(processor.dump(result.value))


def _kit() -> Any:
    named = os.environ.get("JOBKIT_APP", "")
    module, colon, attribute = named.partition(":")
    if not (module and colon and attribute):
        raise ConfigurationError(
            f"JOBKIT_APP: expected module:attr, the kit or a function that makes it, got {named!r}; "
            "a plain RQ worker needs it to run jobkit's jobs"
        )
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found() if callable(found) else found
