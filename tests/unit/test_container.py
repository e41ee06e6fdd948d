import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from dependency_injector import containers, providers

from jobkit.container import open_container
from jobkit.errors import ConfigurationError, DeclarationError
from jobkit.views import ContainerView

READY = ContainerView(domain=1, infrastructure=2, cross_cutting=3)


class App(containers.DeclarativeContainer):
    domain = providers.Object(1)


def opened(given: Any) -> Any:
    """What `with` gives."""
    with open_container(given) as container:
        return container


def aopened(given: Any) -> Any:
    """What `async with` gives."""

    async def run() -> Any:
        async with open_container(given) as container:
            return container

    return asyncio.run(run())


@pytest.mark.parametrize("way", [opened, aopened])
def test_ready_containers_are_given_as_they_are(way: Callable[[Any], Any]) -> None:
    """A view, an instance, an object with a slice, or None needs no opening."""
    for ready in (READY, App(), SimpleNamespace(domain=1), None):
        assert way(ready) is ready


@pytest.mark.parametrize("way", [opened, aopened])
def test_classes_and_functions_are_called(way: Callable[[Any], Any]) -> None:
    """A container's class, or a function that makes one, is called when the worker starts."""
    assert way(App).domain() == 1
    assert way(App) is not way(App)
    assert way(lambda: READY) is READY
    assert way(lambda: None) is None


def test_context_managers_are_entered_and_left() -> None:
    """A plain or async context manager opens and closes around the worker, in the right order."""
    told = []

    @contextmanager
    def plain() -> Any:
        told.append("open")
        yield READY
        told.append("close")

    @asynccontextmanager
    async def awaited() -> Any:
        told.append("aopen")
        yield READY
        told.append("aclose")

    assert opened(plain) is aopened(plain) is aopened(awaited) is aopened(awaited()) is READY
    assert told == ["open", "close"] * 2 + ["aopen", "aclose"] * 2
    assert open_container(awaited).needs_loop
    assert not open_container(plain).needs_loop


def test_an_async_context_manager_needs_a_loop() -> None:
    """Without one the message says what would open it."""

    @asynccontextmanager
    async def awaited() -> Any:
        yield READY

    with pytest.raises(ConfigurationError, match="async context manager"):
        opened(awaited)


def test_resources_of_a_container_made_here_are_shut_down() -> None:
    """What the worker's own container opened is closed with it; a ready instance stays open."""
    told = []

    def resource() -> Any:
        told.append("open")
        yield 1
        told.append("close")

    class Rich(containers.DeclarativeContainer):
        domain = providers.Resource(resource)

    with open_container(Rich) as container:
        container.domain()
    assert told == ["open", "close"]
    ready = Rich()
    with open_container(ready):
        ready.domain()
    assert told == ["open", "close", "open"]


@pytest.mark.parametrize("given", [3, "acme.containers:App", lambda: 3, object])
def test_what_is_no_container_is_told(given: Any) -> None:
    """Anything without slices is refused when it is opened."""
    with pytest.raises(DeclarationError, match="container=: expected a container with domain, infrastructure"):
        opened(given)


def test_an_async_function_is_told() -> None:
    """It is not a context manager, and nobody would close what it opened."""

    async def make() -> Any:
        return READY

    with pytest.raises(DeclarationError, match="@asynccontextmanager"):
        open_container(make)
