"""The composition: queues, processors and container in one kit. Importing this reads nothing and opens nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from jobkit import Exponential, JobKit, QueueSpec, Retention, Retry, Settings

from .payloads import Queues

if TYPE_CHECKING:
    from .container import AppContainer

BACK_OFF = Retry(attempts=4, backoff=Exponential(2, factor=4, cap=timedelta(minutes=30), jitter=0.1))
"""Waits about 2, 8 and 32 s."""


def create_kit(settings: Settings | None = None, *, retry: Retry = BACK_OFF) -> JobKit:
    """Make the app's kit; `settings` are read from the environment when they are not given.

    The API makes one to enqueue, a worker makes one to work. The retry policy goes with each job as it is enqueued.
    """
    return JobKit(
        settings,
        queues=[
            QueueSpec(
                Queues.INVOICE_PROCESSING,
                concurrency=4,
                timeout=60,
                retry=retry,
                retention=Retention(completed=1000, failed=5000),
            ),
            QueueSpec(Queues.EMAIL_SYNC, concurrency=4, timeout=timedelta(minutes=10), retry=retry),
            QueueSpec(Queues.AUTOMATION, retry=retry),
            QueueSpec(Queues.WEBHOOK_DELIVERY, concurrency=10, timeout=30, retry=retry),
        ],
        processors=f"{__package__}.processors",
        container=_container,
    )


def _container() -> AppContainer:
    """Make the container when a worker starts: a process that only enqueues loads neither database nor OCR."""
    from .container import AppContainer

    return AppContainer()
