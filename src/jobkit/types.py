"""The shapes that payload modules and processors share: `from jobkit.types import Payload, Job, JobResult`."""

from jobkit.dedupe import Dedupe
from jobkit.jobs import ClaimPort, Job, JobHandle, JobState, JobStatus, MemoryPort, Progress, in_thread
from jobkit.payloads import Kind, Payload, decode, encode, kind
from jobkit.policies import Exponential, Fixed, Retention, Retry
from jobkit.results import Draft, EnqueueOptions, JobResult, draft
from jobkit.timing import Clock, Seconds, SystemClock, aware, seconds

__all__ = [
    "ClaimPort",
    "Clock",
    "Dedupe",
    "Draft",
    "EnqueueOptions",
    "Exponential",
    "Fixed",
    "Job",
    "JobHandle",
    "JobResult",
    "JobState",
    "JobStatus",
    "Kind",
    "MemoryPort",
    "Payload",
    "Progress",
    "Retention",
    "Retry",
    "Seconds",
    "SystemClock",
    "aware",
    "decode",
    "draft",
    "encode",
    "in_thread",
    "kind",
    "seconds",
]
