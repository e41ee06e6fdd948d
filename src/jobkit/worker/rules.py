"""A queue's rules in the forms that the store keeps: retention for every sweep, limits for every claim."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobkit import flow
from jobkit.store.records import QueueRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobkit.queues import QueueSpec
    from jobkit.store.sweeps import Sweeps

log = logging.getLogger("jobkit.worker")


def rules_of(spec: QueueSpec) -> QueueRules:
    """A queue's retention as the store's scripts take it."""
    kept = spec.retention
    return QueueRules(
        keep_done=kept.completed,
        keep_dead=kept.failed,
        done_age_ms=round((kept.completed_age or 0) * 1000),
        dead_age_ms=round((kept.failed_age or 0) * 1000),
    )


def enforce(sweeps: Sweeps, specs: Sequence[QueueSpec], revision: int) -> None:
    """Put the queues' limits in force for all workers, unless a newer release has put its own."""
    kept = sweeps.enforce({spec.name: flow.rules(spec, revision) for spec in specs}, revision)
    if kept:
        log.warning(
            "the limits of a newer release are in force; this worker obeys them",
            extra={"queues": kept, "revision": revision},
        )
