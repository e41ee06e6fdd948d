"""The worker. `Worker` runs the jobs of some queues; `perform` is what a plain `rq worker` calls for a jobkit job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobkit.worker.entry import perform

if TYPE_CHECKING:
    from jobkit.worker.worker import Worker

__all__ = ["Worker", "perform"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the worker when it is first asked for: a client never is one."""
        if name == "Worker":
            from jobkit.worker.worker import Worker  # noqa: PLC0415

            globals()["Worker"] = Worker
            return Worker
        raise AttributeError(f"jobkit.worker has no public name {name!r}; it has {', '.join(__all__)}")
