"""Which function runs a job, and with what: looked up once, when the worker starts, and read for every attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from jobkit.views import ViewFactory, build_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.processing import Processor
    from jobkit.processors import ProcessorRegistry


@attrs.frozen
class Route:
    """A processor, ready to be called."""

    processor: Processor[Any, ..., Any]
    fn: Callable[..., Any]
    payload: type[Any]
    is_async: bool
    make_view: ViewFactory | None

    def call(self, job: Any) -> Any:
        """Call the processor with the job, and a fresh view where it takes one."""
        return self.fn(job) if self.make_view is None else self.fn(job, self.make_view())


class Routes:
    """The routes of a registry over an open container.

    With `called=False` they only tell which processor a job has: it is called elsewhere, and no view is made here.

    Raises DeclarationError and MissingProvider for views that the container cannot fill.
    """

    def __init__(self, registry: ProcessorRegistry, container: Any, *, called: bool = True) -> None:
        self._registry = registry
        processors = registry.processors()
        asked = [found for each in processors if called and (found := each.protocols()) is not None]
        make_view = build_view(container, *asked) if asked else None
        self._routes: dict[str, Route] = {}
        for processor in processors:
            route = Route(
                processor,
                processor.fn,
                processor.payload,
                processor.is_async,
                make_view if processor.takes_view else None,
            )
            self._routes.update(dict.fromkeys(processor.names, route))

    def find(self, name: str) -> Route:
        """The route of jobs of this name or alias; raises UnknownJobName."""
        route = self._routes.get(name)
        if route is None:
            self._registry.find(name)  # raises, with the nearest name and the broken entry points
            raise LookupError(f"{name!r} was registered after the worker had started")
        return route

    @property
    def any_async(self) -> bool:
        """Whether the event loop is needed."""
        return any(route.is_async for route in self._routes.values())
