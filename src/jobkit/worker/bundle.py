"""What a child process is given: everything that its worker was, in a form that another process can open."""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.errors import ConfigurationError
from jobkit.payloads import kind
from jobkit.processing import Processor
from jobkit.processors import ProcessorRegistry
from jobkit.queues import QueueSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobkit.config import Settings
    from jobkit.container import ContainerArg
    from jobkit.processors import AnyProcessor, BrokenEntryPoint
    from jobkit.queues import QueueSpec

MAIN: Final = "__main__"


@attrs.frozen
class Place:
    """Where a processor is found: a module's name, and the name within it."""

    module: str
    name: str

    def find(self) -> Any:
        """What is there; raises ImportError or AttributeError."""
        found: Any = importlib.import_module(self.module)
        for part in self.name.split("."):
            found = getattr(found, part)
        return found


@attrs.frozen
class Bundle:
    """What one queue's children are given. Plain data, and pickles that only the child opens.

    Attributes:
        queue: whose jobs the children run.
        url: of Redis; each child connects by itself, when a job first needs it.
        worker: the name under which they write.
        hooks: whether somebody wants to know of results and errors as values.

    """

    queue: str
    url: str
    socket_timeout: float
    worker: str
    settings: Settings
    specs: tuple[QueueSpec, ...]
    places: tuple[Place, ...]
    values: tuple[bytes, ...]
    broken: tuple[BrokenEntryPoint, ...]
    container: bytes
    hooks: bool

    def modules(self) -> list[str]:
        """The modules of the processors, which children may share: imported before they are forked."""
        return sorted({each.module for each in self.places} - {MAIN})

    def open_registry(self) -> ProcessorRegistry:
        """The processors."""
        found: list[tuple[AnyProcessor, str]] = [(each.find(), f"module {each.module}") for each in self.places]
        for each in self.values:
            payload, fn = pickle.loads(each)  # noqa: S301 - the worker's own
            found.append((Processor(payload, fn), "a value"))
        return ProcessorRegistry(found, self.broken)

    def open_container(self) -> ContainerArg:
        """What `JobKit(container=...)` was given."""
        return pickle.loads(self.container)  # noqa: S301 - as above

    def open_queues(self) -> QueueSet:
        """The kit's queues. A function as a backoff stays with the worker, which computes the waits."""
        return QueueSet(self.specs)


def pack_registry(
    registry: ProcessorRegistry, queue: str
) -> tuple[tuple[Place, ...], tuple[bytes, ...], tuple[BrokenEntryPoint, ...]]:
    """The processors as places and values, and the broken entry points.

    Those of other queues are left out where they cannot be given. Raises ConfigurationError for one of this queue.
    """
    places: list[Place] = []
    values: list[bytes] = []
    for each in registry.processors():
        place = _place(each)
        if place is not None:
            places.append(place)
            continue
        try:
            values.append(pickle.dumps((each.payload, each.fn)))
        except Exception as error:
            if kind(each.payload).queue == queue:
                raise ConfigurationError(
                    f"queue {queue!r}, isolation='process': {each.where} cannot be given to a child process: expected "
                    "a processor and a payload at the top of a module, where a child finds them by name "
                    f"({type(error).__name__}: {error}). Move them there, or take isolation='thread'"
                ) from error
    return tuple(places), tuple(values), registry.broken


def pack_container(container: ContainerArg, queue: str) -> bytes:
    """The container as a child opens it; raises ConfigurationError where it cannot be given."""
    try:
        return pickle.dumps(container)
    except Exception as error:
        raise ConfigurationError(
            f"queue {queue!r}, isolation='process': container= cannot be given to a child process: got "
            f"{container!r:.200} ({type(error).__name__}: {error}). Give the container's class, or a function at the "
            "top of a module that makes it: each child calls it once"
        ) from error


def portable(specs: Iterable[QueueSpec]) -> tuple[QueueSpec, ...]:
    """The specs with a stand-in for each backoff that is a function."""
    return tuple(
        attrs.evolve(spec, retry=attrs.evolve(spec.retry, backoff=no_wait)) if callable(spec.retry.backoff) else spec
        for spec in specs
    )


def no_wait(_: int) -> float:
    """The stand-in: the worker computes the wait itself."""
    return 0.0


def preload(bundles: Sequence[Bundle]) -> list[str]:
    """What all children share: imported once, before they are forked."""
    modules = {module for each in bundles for module in each.modules()}
    return ["jobkit.worker.isolated", *sorted(modules)]


def _place(processor: AnyProcessor) -> Place | None:
    fn = processor.fn
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    place = Place(module, name)
    try:
        return place if place.find() is processor else None
    except (ImportError, AttributeError):
        return None
