"""A queue's retention in the form that the store keeps and every sweep reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobkit.store.records import QueueRules

if TYPE_CHECKING:
    from jobkit.queues import QueueSpec


def rules_of(spec: QueueSpec) -> QueueRules:
    """A queue's retention as the store's scripts take it."""
    kept = spec.retention
    return QueueRules(
        keep_done=kept.completed,
        keep_dead=kept.failed,
        done_age_ms=round((kept.completed_age or 0) * 1000),
        dead_age_ms=round((kept.failed_age or 0) * 1000),
    )
