"""ClaimPort: what a job needs of the worker that runs it; MemoryPort: the same without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobkit.limits import RateLimit
    from jobkit.results import Draft


@attrs.frozen
class Progress:
    """How far a job says it is: percent from 0 to 100, and a message."""

    percent: float
    message: str = ""


class ClaimPort(Protocol):
    """What a job needs of the worker that runs it. Each call raises LostClaim once the job is no longer its own."""

    def load_step(self, name: str) -> bytes | None:
        """The kept JSON of a step; None when it has not run."""
        ...

    def save_step(self, name: str, value: bytes) -> None:
        """Keep the JSON of a step for later attempts."""
        ...

    def progress(self, percent: float, message: str) -> None:
        """Record the progress."""
        ...

    def enqueue(self, drafts: Sequence[Draft[Any]]) -> list[str]:
        """Enqueue now, as the job's owner; gives the ids."""
        ...

    def permit(self, name: str, limit: RateLimit) -> float:
        """Count one more in a named window; the seconds until there may be room for it, 0 when it was counted."""
        ...


class MemoryPort:
    """The port of a job without a worker: in a test, or run inline. It keeps what the processor does."""

    def __init__(self) -> None:
        self.steps: dict[str, bytes] = {}
        self.progressed: list[Progress] = []
        self.enqueued: list[Draft[Any]] = []
        self.permitted: list[str] = []

    def load_step(self, name: str) -> bytes | None:
        """The kept JSON of a step."""
        return self.steps.get(name)

    def save_step(self, name: str, value: bytes) -> None:
        """Keep the JSON of a step."""
        self.steps[name] = value

    def progress(self, percent: float, message: str) -> None:
        """Append to `progressed`."""
        self.progressed.append(Progress(percent, message))

    def enqueue(self, drafts: Sequence[Draft[Any]]) -> list[str]:
        """Append to `enqueued`."""
        self.enqueued.extend(drafts)
        return [each.id for each in drafts]

    def permit(self, name: str, limit: RateLimit) -> float:  # noqa: ARG002 - there is room at once
        """Append to `permitted`."""
        self.permitted.append(name)
        return 0.0
