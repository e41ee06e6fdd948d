"""The process-isolated queues of one worker: their executors, started and ended together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobkit.errors import ConfigurationError
from jobkit.worker.bundle import Bundle, pack_container, pack_registry, portable, preload
from jobkit.worker.process import Nursery
from jobkit.worker.processes import ProcessExecutor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobkit.config import Settings
    from jobkit.container import ContainerArg
    from jobkit.processors import ProcessorRegistry
    from jobkit.queues import QueueSet, QueueSpec
    from jobkit.store import Store
    from jobkit.worker.attempt import Pipeline
    from jobkit.worker.executors import OnEnd


class Isolation:
    """The executors of those of a worker's queues that say isolation="process"; there may be none.

    Args:
        specs: the queues that the worker serves.
        worker: its name, under which the children write.
        hooks: whether somebody wants to know of results and errors as values.

    """

    def __init__(self, specs: Sequence[QueueSpec], *, worker: str, hooks: bool) -> None:
        self._specs = [spec for spec in specs if spec.isolation == "process"]
        self._worker = worker
        self._hooks = hooks
        self.whole = len(self._specs) == len(specs)
        """Whether all of the worker's queues are, so that nothing runs in the worker itself."""
        self.executors: Mapping[str, ProcessExecutor] = {}

    def build(
        self,
        pipeline: Pipeline,
        store: Store,
        settings: Settings,
        queues: QueueSet,
        registry: ProcessorRegistry,
        container: ContainerArg,
        *,
        on_end: OnEnd,
    ) -> Mapping[str, ProcessExecutor]:
        """The executor of each queue. Starts nothing.

        Raises ConfigurationError for what cannot be given to a child process, and where the platform can start none.
        """
        if not self._specs:
            return {}
        if store.url is None:
            raise ConfigurationError(
                "isolation='process': expected a store with a URL, by which a child process opens a connection of its "
                "own, got one made from a client; make it with Store.open(url)"
            )
        bundles = [
            Bundle(
                spec.name,
                store.url,
                store.socket_timeout,
                self._worker,
                settings,
                portable(queues),
                *pack_registry(registry, spec.name),
                pack_container(container, spec.name),
                self._hooks,
            )
            for spec in self._specs
        ]
        nursery = Nursery(preload(bundles))
        self.executors = {
            spec.name: ProcessExecutor(pipeline, spec, bundle, nursery, on_end=on_end)
            for spec, bundle in zip(self._specs, bundles, strict=True)
        }
        return self.executors

    def start(self) -> None:
        """Start the first child of each queue; raises what kept it from taking jobs."""
        for each in self.executors.values():
            each.start()

    def end(self, timeout: float) -> None:
        """End the idle children in peace, kill the others, and wait for it, `timeout` seconds at most."""
        end = time.monotonic() + timeout
        for each in self.executors.values():
            each.kill(idle=False)
        for each in self.executors.values():
            each.stop()
        for each in self.executors.values():
            each.join(max(0.0, end - time.monotonic()))
