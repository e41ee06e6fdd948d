"""The worker. `Worker` runs the jobs of some queues; `perform` is what a plain `rq worker` calls for a jobkit job.

Each is loaded when it is first asked for: a client never is a worker, and a supervisor of workers needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobkit.worker.entry import perform
    from jobkit.worker.worker import Worker

__all__ = ["Worker", "perform"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a public name, and keep it."""
        match name:
            case "Worker":
                from jobkit.worker.worker import Worker as found  # noqa: N813, PLC0415
            case "perform":
                from jobkit.worker.entry import perform as found  # noqa: PLC0415
            case _:
                raise AttributeError(f"jobkit.worker has no public name {name!r}; it has {', '.join(__all__)}")
        globals()[name] = found
        return found
