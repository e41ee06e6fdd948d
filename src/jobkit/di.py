"""Scoped: a dependency-injector provider of what is opened once a job and closed at its end."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Self

from dependency_injector import providers

from jobkit.errors import DeclarationError, ScopeClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from contextvars import Token
    from types import TracebackType


_scope: Final[ContextVar[_Scope | None]] = ContextVar("jobkit_scope", default=None)


class _Scope:
    """What the Scoped providers of one attempt have opened."""

    __slots__ = ("_token", "closed", "got", "stack")
    _token: Token[_Scope | None]

    def __init__(self) -> None:
        self.stack: ExitStack | None = None  # made when something is opened: most jobs open nothing
        self.got: dict[int, Any] = {}
        self.closed = False

    @property
    def lock(self) -> threading.RLock:
        # Steps in threads may ask at once; one Scoped may need another, hence reentrant. No object has the id 0.
        lock: threading.RLock = self.got.setdefault(0, threading.RLock())
        return lock

    def __enter__(self) -> None:
        self._token = _scope.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            return self.stack is not None and bool(self.stack.__exit__(kind, error, trace))
        finally:
            self.closed = True
            _scope.reset(self._token)

    def enter(self, manager: AbstractContextManager[Any]) -> Any:
        """Open it for the rest of the job; the lock is held."""
        if self.stack is None:
            self.stack = ExitStack()
        return self.stack.enter_context(manager)


def scope() -> AbstractContextManager[None]:
    """One job's scope: what its Scoped providers open is closed at the end, last opened first.

    An exception passes through them, so that a session can roll back. It is entered around an attempt, plain or async,
    in a context of its own; threads that the attempt starts with `asyncio.to_thread` belong to it.
    """
    return _Scope()


class Scoped(providers.Provider[Any]):
    """A provider of what a context manager yields: opened when a job first asks, shared within it, closed at its end.

    class Infrastructure(DeclarativeContainer):
        session = Scoped(open_session, config.url)      # open_session: a function under @contextmanager
        invoices = Factory(InvoiceRepository, session)  # the same session within a job

    Args:
        make: a function or class that gives a context manager (not an async one).
        args: passed to it; providers are resolved.
        kwargs: passed to it; providers are resolved.

    Raises (when it is asked):
        ScopeClosed: there is no job, or it has ended.
        DeclarationError: `make` gave no plain context manager.

    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> None:
        self._make = providers.Factory(make, *args, **kwargs)
        super().__init__()

    def __deepcopy__(self, memo: dict[Any, Any] | None = None) -> Self:
        """A copy for another container; dependency-injector copies declarative containers with their providers."""
        memo = {} if memo is None else memo
        copied: Self | None = memo.get(id(self))
        if copied is not None:
            return copied
        made = self._make
        copied = type(self)(
            made.provides,
            *providers.deepcopy(made.args, memo),
            **providers.deepcopy(made.kwargs, memo),
        )
        memo[id(self)] = copied
        self._copy_overridings(copied, memo)
        return copied

    @property
    def related(self) -> Iterator[Any]:
        """The providers it depends on, for dependency-injector's walks."""
        yield self._make
        yield from super().related

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mine = _scope.get()
        if mine is None or mine.closed:
            raise ScopeClosed(
                f"{self._called()} is opened once a job, and was asked {'after its job' if mine else 'outside a job'}; "
                "ask for it in a processor, through the view, or open jobkit.di.scope() around the code that needs it",
            )
        with mine.lock:
            if id(self) not in mine.got:
                mine.got[id(self)] = mine.enter(self._manager(args, kwargs))
            return mine.got[id(self)]

    def _manager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        manager: Any = self._make(*args, **kwargs)
        if hasattr(manager, "__enter__"):
            return manager
        if hasattr(manager, "__aenter__"):
            raise DeclarationError(
                f"{self._called()} gives an async context manager, and a provider cannot wait; open it in the async "
                "context manager given as JobKit(container=...), and inside a job with `async with`",
            )
        raise DeclarationError(f"{self._called()}: expected a context manager, got {manager!r:.200}")

    def _called(self) -> str:
        made: Any = self._make.provides
        return f"Scoped({getattr(made, '__qualname__', repr(made))})"
