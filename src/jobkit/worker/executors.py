"""Where attempts run: threads for `def`, one event loop for `async def`, child processes. None touches Redis.

An executor takes attempts in batches, runs each through the pipeline, and hands every one back through `on_end` exactly
once, with its outcome. `on_end` may answer the attempt to run next in the place of the one that ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.worker.attempt import Attempt
    from jobkit.worker.fence import Fence
    from jobkit.worker.outcomes import Outcome

OnEnd: TypeAlias = "Callable[[Attempt, Outcome], Attempt | None]"


class Executor(Protocol):
    """Runs attempts. `start()`, `stop()` and `join()` as every background part."""

    def fence(self) -> Fence:
        """A fence for an attempt that is to run here."""
        ...

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Begin these; returns at once."""
        ...
