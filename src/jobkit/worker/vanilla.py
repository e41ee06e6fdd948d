"""Jobs of plain RQ clients: a function by its dotted name, with JSON arguments, where the settings allow it."""

from __future__ import annotations

import importlib
import inspect
import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from jobkit.errors import Unrecoverable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.store.codec import VanillaCall


def perform_vanilla(call: VanillaCall, allowed: Sequence[str]) -> bytes:
    """Call the function; its result as JSON.

    Raises Unrecoverable when the settings do not allow it, when there is no such function, or when its result cannot be
    written as JSON; else what the function raises.
    """
    if not any(fnmatchcase(call.function, pattern) for pattern in allowed):
        raise Unrecoverable(
            f"the job calls the function {call.function!r}, which this worker may not run: the settings' rq_functions are "
            f"{', '.join(map(repr, allowed)) or 'none'}. Add its name or a pattern to JOBKIT_RQ_FUNCTIONS "
            "(names and patterns with commas between them, e.g. acme.tasks.*), then retry the job"
        )
    value = _find(call.function)(*call.args, **call.kwargs)
    if inspect.iscoroutine(value):
        value.close()
        raise Unrecoverable(f"{call.function} is async: enqueue it as a payload with an async processor")
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise Unrecoverable(f"{call.function} gave a result that cannot be written as JSON: {error}") from error


def _find(name: str) -> Callable[..., Any]:
    """The function `pkg.module.name`, or the method `pkg.module.Class.name`."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is not None and (path == error.name or path.startswith(f"{error.name}.")):
                continue
            raise
        for part in parts[cut:]:
            found = getattr(found, part, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
        break
    raise Unrecoverable(
        f"the job calls {name!r}, but there is no such function here: deploy its code, then retry the job"
    )
