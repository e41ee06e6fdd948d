"""ContainerView: what a processor may touch. Slices are generated from the host's Protocols when a worker starts."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias

import attrs
from typing_extensions import TypeVar

from jobkit.errors import DeclarationError, MissingProvider, ServicesRefused, did_you_mean

D_co = TypeVar("D_co", covariant=True)
I_co = TypeVar("I_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)

SLICES = ("domain", "infrastructure", "cross_cutting")
"""The three slices of a view, in the order of its type arguments."""

_RULE = (
    "a processor sees domain, infrastructure and cross_cutting, and changes nothing there; move the service's rule "
    "into the domain, or call it through a port of the infrastructure"
)
_BEYOND = frozenset({"services", "parent", "providers"})


@attrs.frozen(kw_only=True)
class ContainerView(Generic[D_co, I_co, C_co]):
    """What a processor may touch: three slices, typed by the host's Protocols.

    View = ContainerView[Domain, Infrastructure, CrossCutting]

    Tests build one from plain objects: `ContainerView(domain=..., infrastructure=..., cross_cutting=...)`.
    `services`, `parent`, `providers` and any assignment raise ServicesRefused.
    """

    domain: D_co
    infrastructure: I_co
    cross_cutting: C_co

    if not TYPE_CHECKING:  # checkers know the three slices, and tell any other name themselves
        __jobkit_view__ = True

        def __getattr__(self, name: str) -> NoReturn:
            if name in _BEYOND:
                raise ServicesRefused(f"view.{name}: {_RULE}")
            raise AttributeError(f"ContainerView has no slice {name!r}{did_you_mean(name, SLICES)}")


def _refuse_assignment(view: object, name: str, _: object = None) -> NoReturn:
    path = f"{type(view).__name__}.{name}" if isinstance(view, _Slice) else name
    raise ServicesRefused(f"view.{path}: {_RULE}")


if not TYPE_CHECKING:  # attrs has frozen it already; what is left is to say why
    ContainerView.__setattr__ = _refuse_assignment
    ContainerView.__delattr__ = _refuse_assignment

AnyView: TypeAlias = ContainerView[Any, Any, Any]
ViewFactory: TypeAlias = Callable[[], AnyView]
"""Makes the view of one attempt: what the container provides is resolved when it is first asked for, once."""

_Lookup: TypeAlias = Callable[[], Callable[[str], Any]]


class _Slice:
    """The base of generated slices: a member is resolved once and kept for the attempt."""

    __slots__ = ("_find", "_got")
    _find: Callable[[str], Any]
    _got: dict[str, Any]

    def __init__(self, find: Callable[[str], Any]) -> None:
        object.__setattr__(self, "_find", find)
        object.__setattr__(self, "_got", {})

    __setattr__ = _refuse_assignment
    __delattr__ = _refuse_assignment

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in _BEYOND:
                raise ServicesRefused(f"view.{type(self).__name__}.{name}: {_RULE}")
            known = [each for each in dir(type(self)) if not each.startswith("_")]
            raise AttributeError(
                f"view.{type(self).__name__} has no {name!r}{did_you_mean(name, known) or '.'} "
                "Its Protocol does not declare it",
            )


def members(protocol: Any) -> frozenset[str] | None:
    """The names that a Protocol declares, inherited ones included; None for Any, which declares no bounds.

    Raises:
        DeclarationError: it is no Protocol, no class and no Any.

    """
    protocol = typing.get_origin(protocol) or protocol
    if protocol is Any or isinstance(protocol, typing.TypeVar):
        return None
    if protocol is None or protocol in (type(None), object):
        return frozenset()
    if not isinstance(protocol, type):
        raise DeclarationError(f"ContainerView[...]: expected Protocols as its three types, got {protocol!r}")
    return frozenset(
        name
        for base in protocol.__mro__
        if base not in (object, typing.Protocol, typing.Generic)
        for name in {**vars(base), **vars(base).get("__annotations__", {})}
        if not name.startswith("_")
    )


def build_view(container: Any, *protocols: tuple[Any, Any, Any]) -> ViewFactory:
    """The maker of views over a container, for processors whose views have these types.

    Args:
        container: an open container: an instance of a dependency-injector container whose sub-containers are named
            domain, infrastructure and cross_cutting; a ContainerView; or an object with these three attributes.
        protocols: the types of the three slices, as `Processor.protocols()` gives them; a slice has the members that
            any of them declares.

    Raises:
        MissingProvider: the container lacks a slice or a member that a Protocol declares; all of them are named.

    """
    missing: list[str] = []
    makers = [
        _slice(container, name, _together(each[at] for each in protocols), missing) for at, name in enumerate(SLICES)
    ]
    if missing:
        raise MissingProvider(
            f"the container {_called(container)} lacks {', '.join(missing)}, which the processors' view declares; "
            "provide it, or take it out of the Protocol",
        )
    domain, infrastructure, cross_cutting = makers

    def view() -> AnyView:
        return ContainerView(domain=domain(), infrastructure=infrastructure(), cross_cutting=cross_cutting())

    return view


def _together(protocols: Iterable[Any]) -> frozenset[str] | None:
    wanted: frozenset[str] = frozenset()
    for each in protocols:
        more = members(each)
        if more is None:
            return None
        wanted |= more
    return wanted


def _slice(container: Any, name: str, wanted: frozenset[str] | None, missing: list[str]) -> Callable[[], Any]:
    if wanted is not None and not wanted:
        return lambda: None
    lookup, have = _source(container, name)
    if have is None:
        missing.extend([name] if wanted is None else [f"{name}.{each}" for each in sorted(wanted)])
        return lambda: None
    names = frozenset(each for each in have() if not each.startswith("_")) - _BEYOND if wanted is None else wanted
    missing.extend(f"{name}.{each}" for each in sorted(names - have()))
    made = type(name, (_Slice,), {"__slots__": (), **{each: _member(name, each) for each in names}})
    return lambda: made(lookup())


def _member(slice_name: str, name: str) -> property:
    def get(self: _Slice) -> Any:
        got = self._got
        if name not in got:
            value = self._find(name)
            if inspect.iscoroutine(value) or hasattr(type(value), "_asyncio_future_blocking"):
                raise DeclarationError(
                    f"view.{slice_name}.{name}: its provider gives an awaitable, because something under it is opened "
                    "asynchronously; open that in an async context manager which yields the ready container "
                    "(JobKit(container=...) takes one)",
                )
            got[name] = value
        return got[name]

    return property(get, doc=f"The {name} of the container's {slice_name}.")


def _source(container: Any, name: str) -> tuple[_Lookup, Callable[[], set[str]] | None]:
    """How a slice's members are found, and which there are; None for the latter when the slice is missing."""
    outer = _providers(container)
    part = getattr(container, name, None) if outer is None else outer[name]() if name in outer else None
    if part is None:
        return _nothing, None
    inner = _providers(part)
    if inner is not None:
        return lambda: lambda member: inner[member](), lambda: set(inner)
    if outer is None:
        return lambda: lambda member: getattr(part, member), lambda: set(dir(part))

    def fresh() -> Callable[[str], Any]:
        resolved = outer[name]()
        return lambda member: getattr(resolved, member)

    return fresh, lambda: set(dir(part))


def _nothing() -> Callable[[str], Any]:
    return lambda _: None


def _providers(container: Any) -> Mapping[str, Callable[[], Any]] | None:
    """The providers of a dependency-injector container, which is told by having them; None for anything else."""
    if isinstance(container, ContainerView | _Slice):
        return None
    found = getattr(container, "providers", None)
    return found if isinstance(found, Mapping) else None


def _called(container: Any) -> str:
    return getattr(container, "__qualname__", None) or type(container).__qualname__
