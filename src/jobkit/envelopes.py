"""A draft as the record the store writes: the payload encoded, the queue's rules copied onto the job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from pydantic_core import from_json

from jobkit.errors import PayloadTooLarge
from jobkit.flow import Lanes
from jobkit.payloads import encode, kind
from jobkit.results import PLAIN, Draft
from jobkit.store.codec import pack_data, pack_extra, with_name
from jobkit.store.records import NewJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobkit.payloads import Kind
    from jobkit.queues import QueueSet, QueueSpec


@attrs.frozen
class Envelopes:
    """Makes records for one kit's queues.

    `max_payload` is the largest payload taken, in bytes of JSON. The timeout and the retry policy ride on the job, so
    that it keeps the rules it was enqueued under when the code changes.
    """

    queues: QueueSet
    max_payload: int
    _known: dict[type[Any], tuple[QueueSpec, bytes, Lanes]] = attrs.field(
        factory=dict, init=False, repr=False, eq=False
    )

    def new_job(self, draft: Draft[object]) -> NewJob:
        """The record of a draft.

        Raises:
            UnknownQueue: the payload's queue is none of the kit's.
            DeclarationError: the queue's rules ask for a field that the payload has not, or the job for a priority that
                the queue has not.
            NotSerialisable: a field does not come back from JSON, or is none for a dedupe key; the message names it.
            PayloadTooLarge: the JSON of the payload, or of the tags, is larger than `max_payload`.

        """
        payload = draft.payload
        known = kind(payload)
        spec, extra, lanes = self._rules(type(payload), known)
        data = encode(payload)
        if len(data) > self.max_payload:
            raise PayloadTooLarge(
                f"{known.name}: expected a payload of at most {self.max_payload:,} bytes of JSON, got {len(data):,}. "
                "Store the bulk elsewhere and enqueue a reference to it, or raise JOBKIT_MAX_PAYLOAD",
            )
        options = draft.options
        delay_ms = due_ms = 0
        if options is not PLAIN:
            if options.tags:
                extra = _extra(spec, options.tags)
                if len(extra) > self.max_payload:
                    raise PayloadTooLarge(
                        f"{known.name}: expected tags of at most {self.max_payload:,} bytes of JSON, got "
                        f"{len(extra):,}. Tags are labels; what the job works on belongs in its payload"
                    )
            delay_ms = round(options.delay * 1000)
            if options.at is not None:
                due_ms = max(0, round(options.at.timestamp() * 1000))
        packed = pack_data(known.name, known.version, data)
        flow = lanes.flow(payload, options.priority)
        if options.dedupe is not None:
            flow["d"] = options.dedupe.to_wire(from_json(data), type(payload).__qualname__)
        return NewJob(
            draft.id,
            known.queue,
            packed,
            with_name(extra, packed, known.name),
            spec.timeout,
            delay_ms,
            due_ms,
            _flow(flow),
        )

    def _rules(self, cls: type[Any], known: Kind) -> tuple[QueueSpec, bytes, Lanes]:
        found = self._known.get(cls)
        if found is None:
            spec = self.queues.get(known.queue)
            found = self._known[cls] = (spec, _extra(spec), Lanes.of(spec, known, cls.model_fields))
        return found


def _flow(parts: dict[str, Any]) -> bytes:
    """What the job is subject to beyond its queue's order, as the enqueue script reads it; empty for nothing."""
    return json.dumps(parts, separators=(",", ":")).encode() if parts else b""


def _extra(spec: QueueSpec, tags: Mapping[str, str] | None = None) -> bytes:
    wire: list[Any] = spec.retry.to_wire()
    return pack_extra(wire[0], wire[1], tags)
