import asyncio
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
from dependency_injector import containers, providers

from jobkit.errors import DeclarationError, MissingProvider, ServicesRefused
from jobkit.views import ContainerView, build_view, members


class Base(Protocol):
    @property
    def files(self) -> Any: ...


class Infrastructure(Base, Protocol):
    url: str

    @property
    def ocr(self) -> Any: ...

    def read(self) -> str: ...

    def _private(self) -> None: ...


class Narrow(Protocol):
    @property
    def ocr(self) -> Any: ...


NONE = type(None)
PROTOCOLS = (NONE, Infrastructure, NONE)


class Sub(containers.DeclarativeContainer):
    files = providers.Singleton(object)
    ocr = providers.Factory(object)
    url = providers.Object("here")
    read = providers.Object(lambda: "text")
    hidden = providers.Object("not declared")


class App(containers.DeclarativeContainer):
    infrastructure = providers.Container(Sub)
    services = providers.Object("never")


class Plain:
    """An object in place of a container's slice."""

    files, url, hidden = 1, "here", "not declared"

    @property
    def ocr(self) -> Any:
        return object()

    def read(self) -> str:
        return "text"


PLAIN = ContainerView(domain=None, infrastructure=Plain(), cross_cutting=None)


def as_factory() -> Any:
    """A container whose slice is not a sub-container but a provider of an object."""

    class Flat(containers.DeclarativeContainer):
        infrastructure = providers.Factory(Plain)

    return Flat()


EACH = pytest.mark.parametrize(
    "container",
    [App(), PLAIN, SimpleNamespace(infrastructure=Plain()), as_factory(), SimpleNamespace(infrastructure=Sub())],
    ids=["containers", "view", "object", "factory", "object of containers"],
)


def test_members_of_protocols() -> None:
    """Inherited members, attributes and methods count; private names do not."""
    assert members(Infrastructure) == {"files", "ocr", "read", "url"}
    assert members(None) == members(NONE) == members(object) == frozenset()
    assert members(Any) is None
    with pytest.raises(DeclarationError, match="expected Protocols"):
        members("Infrastructure")


@EACH
def test_a_view_shows_what_the_protocol_declares(container: Any) -> None:
    """Over any kind of container the slice has the declared members and no others."""
    view = build_view(container, PROTOCOLS)()
    assert view.infrastructure.url == "here"
    assert view.infrastructure.read() == "text"
    assert view.domain is None
    with pytest.raises(AttributeError, match=r"view\.infrastructure has no 'hidden'.*Protocol does not declare it"):
        _ = view.infrastructure.hidden
    with pytest.raises(AttributeError, match="did you mean 'ocr'"):
        _ = view.infrastructure.ocrr


@EACH
def test_a_member_is_resolved_once_a_view(container: Any) -> None:
    """An attempt gets one object of a factory; the next attempt gets another."""
    make = build_view(container, PROTOCOLS)
    view = make()
    assert view.infrastructure.ocr is view.infrastructure.ocr
    assert view.infrastructure.ocr is not make().infrastructure.ocr


def test_a_missing_provider_is_named_when_the_worker_starts() -> None:
    """Each missing member is named with its slice, before any job runs."""

    class Poor(containers.DeclarativeContainer):
        ocr = providers.Object(1)

    class PoorApp(containers.DeclarativeContainer):
        infrastructure = providers.Container(Poor)

    with pytest.raises(
        MissingProvider, match=r"lacks infrastructure\.files, infrastructure\.read, infrastructure\.url"
    ):
        build_view(PoorApp(), PROTOCOLS)
    for nothing in (None, SimpleNamespace(), containers.DynamicContainer()):
        with pytest.raises(MissingProvider, match=r"infrastructure\.ocr"):
            build_view(nothing, (NONE, Narrow, NONE))
    with pytest.raises(MissingProvider, match="lacks domain, "):
        build_view(None, (Any, NONE, NONE))


def test_several_views_are_one() -> None:
    """Where processors declare different Protocols, the slices have the members of all."""
    view = build_view(App(), (NONE, Narrow, NONE), (NONE, Base, NONE))()
    assert view.infrastructure.ocr
    assert view.infrastructure.files
    with pytest.raises(AttributeError, match="url"):
        _ = view.infrastructure.url


def test_a_slice_of_any_shows_all_but_what_leads_outside() -> None:
    """Without a Protocol the slice has every provider, and still no way to the services."""
    view = build_view(App(), (NONE, Any, NONE))()
    assert view.infrastructure.hidden == "not declared"
    for name in ("services", "parent", "providers"):
        with pytest.raises(ServicesRefused):
            getattr(view.infrastructure, name)


@pytest.mark.parametrize("name", ["services", "parent", "providers"])
def test_what_lies_beyond_the_view_is_refused_with_the_rule(name: str) -> None:
    """A processor that reaches for the services is told the rule and the remedy, also by a test's own view."""
    for view in (build_view(App(), PROTOCOLS)(), PLAIN):
        with pytest.raises(ServicesRefused, match=rf"view\.{name}: a processor sees domain, infrastructure .*port"):
            getattr(view, name)
    with pytest.raises(ServicesRefused, match=rf"view\.infrastructure\.{name}: "):
        getattr(build_view(App(), PROTOCOLS)().infrastructure, name)


def test_a_view_cannot_be_changed() -> None:
    """Assignment and deletion are refused, on the view and on its slices."""
    view = build_view(App(), PROTOCOLS)()
    with pytest.raises(ServicesRefused, match=r"view\.domain: .*changes nothing"):
        view.domain = 1
    with pytest.raises(ServicesRefused, match=r"view\.infrastructure\.ocr: "):
        view.infrastructure.ocr = 1
    with pytest.raises(ServicesRefused, match="domain"):
        del view.domain
    with pytest.raises(AttributeError, match="ContainerView has no slice 'domian'; did you mean 'domain'"):
        _ = view.domian


def test_overriding_a_provider_reaches_the_view() -> None:
    """What dependency-injector's own override puts in place is what a processor gets."""
    app = App()
    make = build_view(app, PROTOCOLS)
    with app.infrastructure().url.override("there"):
        assert make().infrastructure.url == "there"


def test_a_dependant_of_an_async_resource_is_refused() -> None:
    """It would be a Future; the message says to open it in an async context manager."""

    async def connect() -> Any:
        yield "connection"

    class Async(containers.DeclarativeContainer):
        connection = providers.Resource(connect)
        ocr = providers.Factory(lambda opened: opened, connection)

    class AsyncApp(containers.DeclarativeContainer):
        infrastructure = providers.Container(Async)

    async def ask() -> None:
        _ = build_view(AsyncApp(), (NONE, Narrow, NONE))().infrastructure.ocr

    with pytest.raises(DeclarationError, match=r"view\.infrastructure\.ocr: its provider gives an awaitable"):
        asyncio.run(ask())
