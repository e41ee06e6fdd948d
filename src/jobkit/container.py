"""Opening what `JobKit(container=...)` was given, when a worker starts, and closing it when the worker has ended."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from jobkit.errors import ConfigurationError, DeclarationError
from jobkit.views import SLICES, ContainerView, ViewFactory, build_view

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ContainerArg", "ContainerView", "OpenContainer", "ViewFactory", "build_view", "open_container"]

ContainerArg: TypeAlias = Any
"""A dependency-injector container (its class, an instance, or a function that makes one); a ContainerView; an object
with the three slices; or a context manager, plain or async, that yields one of these (or a function that makes it)."""


class OpenContainer:
    """A container to be opened: `with`, or `async with`, gives what `build_view` takes.

    What was made here is closed here: the Resources of a dependency-injector container are shut down. A container that
    was handed in ready belongs to whoever made it.

    Attributes:
        needs_loop: whether only `async with` can open it.

    """

    def __init__(self, made: Any, *, ours: bool) -> None:
        self._made = made
        self._ours = ours
        self._manages = hasattr(made, "__enter__") or hasattr(made, "__aenter__")
        self.needs_loop = hasattr(made, "__aenter__") and not hasattr(made, "__enter__")

    def __enter__(self) -> Any:
        if self.needs_loop:
            raise ConfigurationError(
                "container=: it is an async context manager, which is opened on an event loop; use `async with`, or "
                "give a plain context manager",
            )
        return _checked(self._made.__enter__() if self._manages else self._made)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._manages:
            self._made.__exit__(kind, error, trace)
            return
        ending = self._shut_down()
        if inspect.isawaitable(ending):
            if inspect.iscoroutine(ending):
                ending.close()
            raise ConfigurationError(
                "container=: it has async Resources, which only an event loop can shut down; open and close them in an "
                "async context manager that yields the container",
            )

    async def __aenter__(self) -> Any:
        return _checked(await self._made.__aenter__()) if self.needs_loop else self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.needs_loop:
            await self._made.__aexit__(kind, error, trace)
        elif self._manages:
            self._made.__exit__(kind, error, trace)
        else:
            ending = self._shut_down()
            if inspect.isawaitable(ending):
                await ending

    def _shut_down(self) -> Any:
        stop = getattr(self._made, "shutdown_resources", None)
        return stop() if stop is not None and self._ours else None


def open_container(given: ContainerArg) -> OpenContainer:
    """What `JobKit(container=...)` was given, made and ready to be opened; classes and functions are called here.

    Raises:
        DeclarationError: it is an async function, or (when opened) no container.
        ConfigurationError: (when opened) it is an async context manager and is not opened by `async with`.

    """
    if not _is_maker(given):
        return OpenContainer(given, ours=False)
    made = given()
    if inspect.isawaitable(made) and not hasattr(made, "__aenter__"):
        if inspect.iscoroutine(made):
            made.close()
        raise DeclarationError(
            "container=: expected a function that gives a container, got an async one; decorate it with "
            "@asynccontextmanager and yield the container",
        )
    return OpenContainer(made, ours=True)


def _is_maker(given: Any) -> bool:
    """Whether it is to be called for the container: a class or a function."""
    if isinstance(given, type):
        return True
    ready = ("providers", "__enter__", "__aenter__", *SLICES)
    return callable(given) and not any(hasattr(given, name) for name in ready)


def _checked(container: Any) -> Any:
    if container is None or hasattr(container, "providers") or any(hasattr(container, name) for name in SLICES):
        return container
    raise DeclarationError(
        "container=: expected a container with domain, infrastructure and cross_cutting: a dependency-injector class, "
        f"a ContainerView, or a context manager that yields one; got {container!r:.200}",
    )
