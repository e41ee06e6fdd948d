"""Background jobs on Redis: typed payloads, stateless processors, nothing lost.

Each public name is loaded when it is first asked for, so that a module which only declares payloads costs pydantic and
attrs, and no Redis client, event loop or settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jobkit.backpressure import retry_after
    from jobkit.config import Settings
    from jobkit.dedupe import Dedupe
    from jobkit.errors import (
        ConfigurationError,
        DeclarationError,
        JobCancelled,
        JobFailed,
        JobkitError,
        JobNotFound,
        LockLost,
        LockTimeout,
        NotSerialisable,
        PayloadTooLarge,
        ResultTimeout,
        ServicesRefused,
        StoreFull,
        StoreUnavailable,
        UnknownJobName,
        UnknownQueue,
        Unrecoverable,
        WrongPayload,
    )
    from jobkit.factory import JobKit
    from jobkit.jobs import Job, JobHandle, JobState, JobStatus, in_thread
    from jobkit.limits import MaxRunning, Priority, RateLimit
    from jobkit.pauses import Pause
    from jobkit.payloads import Payload, kind
    from jobkit.policies import Exponential, Fixed, Retention, Retry
    from jobkit.ports import Progress
    from jobkit.processing import Processor, processor
    from jobkit.queues import QueueSpec
    from jobkit.results import Draft, JobResult, draft
    from jobkit.views import ContainerView

__all__ = [
    "ConfigurationError",
    "ContainerView",
    "DeclarationError",
    "Dedupe",
    "Draft",
    "Exponential",
    "Fixed",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHandle",
    "JobKit",
    "JobNotFound",
    "JobResult",
    "JobState",
    "JobStatus",
    "JobkitError",
    "LockLost",
    "LockTimeout",
    "MaxRunning",
    "NotSerialisable",
    "Pause",
    "Payload",
    "PayloadTooLarge",
    "Priority",
    "Processor",
    "Progress",
    "QueueSpec",
    "RateLimit",
    "ResultTimeout",
    "Retention",
    "Retry",
    "ServicesRefused",
    "Settings",
    "StoreFull",
    "StoreUnavailable",
    "UnknownJobName",
    "UnknownQueue",
    "Unrecoverable",
    "WrongPayload",
    "draft",
    "in_thread",
    "kind",
    "processor",
    "retry_after",
]

_MODULES: Final = {
    "backpressure": ("retry_after",),
    "config": ("Settings",),
    "dedupe": ("Dedupe",),
    "errors": (
        "ConfigurationError",
        "DeclarationError",
        "JobCancelled",
        "JobFailed",
        "JobNotFound",
        "JobkitError",
        "LockLost",
        "LockTimeout",
        "NotSerialisable",
        "PayloadTooLarge",
        "ResultTimeout",
        "ServicesRefused",
        "StoreFull",
        "StoreUnavailable",
        "UnknownJobName",
        "UnknownQueue",
        "Unrecoverable",
        "WrongPayload",
    ),
    "factory": ("JobKit",),
    "jobs": ("Job", "JobHandle", "JobState", "JobStatus", "in_thread"),
    "limits": ("MaxRunning", "Priority", "RateLimit"),
    "pauses": ("Pause",),
    "payloads": ("Payload", "kind"),
    "policies": ("Exponential", "Fixed", "Retention", "Retry"),
    "ports": ("Progress",),
    "processing": ("Processor", "processor"),
    "queues": ("QueueSpec",),
    "results": ("Draft", "JobResult", "draft"),
    "views": ("ContainerView",),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the module that a public name lives in (PEP 562)."""
        import importlib  # noqa: PLC0415

        home = _HOMES.get(name)
        if home is None:
            from jobkit.errors import did_you_mean  # noqa: PLC0415

            raise AttributeError(f"jobkit has no public name {name!r}{did_you_mean(name, _HOMES)}")
        value = getattr(importlib.import_module(f"jobkit.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
