"""What a queue's jobs may have to wait for besides their turn: a job's lane, and the rules of its queue.

A lane is the waiting line of jobs with the same fair key and the same limits. Its name is made here, at the enqueue,
from the payload's fields; the rules lie on the server, where every claim reads them (store/scripts/lib/limits.lua).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.errors import DeclarationError, did_you_mean
from jobkit.limits import Priority

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobkit.payloads import Kind, Payload
    from jobkit.queues import QueueSpec

SEPARATOR: Final = "\x1f"
LONGEST_VALUE: Final = 100
"""Characters of a field's value that a lane's name holds as they are; a longer one is named by its digest."""
_STEPS: Final = {Priority.HIGH: 1, Priority.NORMAL: 0, Priority.LOW: -1}


@attrs.frozen
class Lanes:
    """How the jobs of one kind find their lanes. `limits` are the queue's keyed limits: name in the rules, field."""

    kind: Kind
    fair_by: str | None
    limits: tuple[tuple[str, str], ...]
    ageing: float | None

    @classmethod
    def of(cls, spec: QueueSpec, kind: Kind, fields: Mapping[str, object]) -> Lanes:
        """The lanes of a kind in its queue; raises DeclarationError where a rule asks for a field that is not there."""
        limits = tuple(_keyed(spec))
        for option, field in [("fair_by", spec.fair_by), *((name, field) for name, (field, _) in limits)]:
            if field is not None and field not in fields:
                raise DeclarationError(
                    f"{kind.name}: the queue {spec.name!r} asks its payloads for {field!r} ({option}), and this one "
                    f"has no such field{did_you_mean(field, fields)}"
                )
        return cls(kind, spec.fair_by, tuple((name, field) for name, (field, _) in limits), spec.ageing)

    def flow(self, payload: Payload[Any], priority: Priority) -> dict[str, Any]:
        """What the enqueue script is told; empty for a job that waits for its turn alone.

        Raises DeclarationError for a priority in a queue that has none.
        """
        if self.ageing is None and priority is not Priority.NORMAL:
            raise DeclarationError(
                f"{self.kind.name}: expected no priority, since the queue {self.kind.queue!r} has none, got "
                f"{priority}; add QueueSpec({self.kind.queue!r}, ageing=600)"
            )
        mutex = self.kind.mutex
        if self.fair_by is None and not self.limits and self.ageing is None and mutex is None:
            return {}
        names = [_value(payload, self.fair_by) if self.fair_by else ""]
        names += (f"{name}={_value(payload, field)}" for name, field in self.limits)
        if mutex is not None:
            names.append(f"mutex={short(mutex.format_map(_Fields(payload)))}")
        return {"l": SEPARATOR.join(names), "b": round(_STEPS[priority] * (self.ageing or 0) * 1000)}


class _Fields(dict[str, Any]):
    """A payload's fields for `str.format_map`."""

    def __init__(self, payload: Payload[Any]) -> None:
        super().__init__()
        self._payload = payload

    def __missing__(self, field: str) -> Any:
        return getattr(self._payload, field)


def rules(spec: QueueSpec, revision: int) -> str:
    """The queue's limits as the scripts read them, JSON; empty where it has none, and no revision is counted."""
    told: dict[str, Any] = {"rev": revision, "keyed": {name: rule for name, (_, rule) in _keyed(spec)}}
    rates = [[each.count, round(each.per * 1000)] for each in spec.rate_limit if each.key is None]
    running = next((each.count for each in spec.max_running if each.key is None), None)
    if rates:
        told["rate"] = rates
    if running is not None:
        told["run"] = running
    if spec.weights:
        told["weights"] = {short(key): weight for key, weight in spec.weights.items()}
    if len(told) == 2 and not told["keyed"] and not revision:  # noqa: PLR2004 - no more than these two
        return ""
    return json.dumps(told, separators=(",", ":"))


def _keyed(spec: QueueSpec) -> list[tuple[str, tuple[str, list[int]]]]:
    """The limits by a field's value: (name, (field, rule)). Several rates by one field are numbered."""
    found: list[tuple[str, tuple[str, list[int]]]] = []
    seen: dict[str, int] = {}
    for rate in spec.rate_limit:
        if rate.key is not None:
            number = seen[rate.key] = seen.get(rate.key, 0) + 1
            name = f"rate/{rate.key}" if number == 1 else f"rate/{rate.key}/{number}"
            found.append((name, (rate.key, [rate.count, round(rate.per * 1000)])))
    found += ((f"run/{each.key}", (each.key, [each.count])) for each in spec.max_running if each.key is not None)
    return found


def _value(payload: Payload[Any], field: str) -> str:
    return short(str(getattr(payload, field)))


def short(value: str) -> str:
    """The value as a part of a key's name: itself, or its digest where it is long or cannot be printed."""
    if len(value) <= LONGEST_VALUE and value.isprintable():
        return value
    return hashlib.blake2b(value.encode(errors="backslashreplace"), digest_size=16).hexdigest()
