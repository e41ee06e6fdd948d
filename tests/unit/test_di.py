import asyncio
import contextvars
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Never

import pytest
from dependency_injector import containers, providers

from jobkit import di
from jobkit.errors import DeclarationError, ScopeClosed


class Journal:
    """A context manager's function that writes down what happens to it."""

    def __init__(self) -> None:
        self.told = []

    @contextmanager
    def session(self, url: str, name: str = "session") -> Iterator[list[str]]:
        self.told.append(f"open {name} {url}")
        try:
            yield [name]
        except BaseException as error:
            self.told.append(f"roll back {name} {type(error).__name__}")
            raise
        finally:
            self.told.append(f"close {name}")


@pytest.fixture
def journal() -> Journal:
    """A new journal."""
    return Journal()


def application(journal: Journal) -> Any:
    """A container of containers, as dependency-injector copies them."""

    class Infrastructure(containers.DeclarativeContainer):
        config = providers.Configuration()
        session = di.Scoped(journal.session, config.url)
        inner = di.Scoped(journal.session, session, name="inner")
        one = providers.Factory(lambda session: session, session)
        two = providers.Factory(lambda session: session, session)

    class App(containers.DeclarativeContainer):
        infrastructure = providers.Container(Infrastructure)

    app = App()
    app.infrastructure().config.url.from_value("db")
    return app.infrastructure()


def test_opened_once_a_job_and_closed_at_its_end(journal: Journal) -> None:
    """All who depend on it share it within a job; the next job gets another."""
    infrastructure = application(journal)
    with di.scope():
        first = infrastructure.one()
        assert infrastructure.two() is infrastructure.session() is first
        assert journal.told == ["open session db"]
    with di.scope():
        assert infrastructure.one() is not first
    assert journal.told == ["open session db", "close session"] * 2


def test_nothing_is_opened_that_was_not_asked_for(journal: Journal) -> None:
    """A job that needs no session opens none."""
    with di.scope():
        application(journal)
    assert journal.told == []


def test_scoped_may_depend_on_scoped(journal: Journal) -> None:
    """They are closed in the reverse of the order in which they were opened."""
    infrastructure = application(journal)
    with di.scope():
        infrastructure.inner()
    assert journal.told == ["open session db", "open inner ['session']", "close inner", "close session"]


def test_an_exception_passes_through_the_context_manager(journal: Journal) -> Never:
    """A session can roll back, also at an interruption."""
    infrastructure = application(journal)

    def job() -> None:
        with di.scope():
            infrastructure.session()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job()
    assert journal.told == ["open session db", "roll back session KeyboardInterrupt", "close session"]


def test_outside_a_job_it_is_refused(journal: Journal) -> None:
    """The message says where to ask instead."""
    infrastructure = application(journal)
    with pytest.raises(ScopeClosed, match=r"Scoped\(Journal\.session\) .*outside a job; .*through the view"):
        infrastructure.one()
    assert journal.told == []


def test_after_the_job_it_is_refused(journal: Journal) -> None:
    """A thread that outlives its job, and has its context, opens nothing that nobody would close."""
    infrastructure = application(journal)
    with di.scope():
        late = contextvars.copy_context()
    with pytest.raises(ScopeClosed, match="after its job"):
        late.run(infrastructure.one)


def test_async_attempts_have_scopes_of_their_own(journal: Journal) -> None:
    """Two attempts that interleave on one loop do not share; threads of an attempt do."""
    infrastructure = application(journal)

    async def attempt(meet: Any) -> Any:
        with di.scope():
            mine = infrastructure.one()
            await meet.wait()
            assert await asyncio.to_thread(infrastructure.two) is mine
            return mine

    async def both() -> Any:
        meet = asyncio.Barrier(2)
        tasks = [asyncio.create_task(attempt(meet), context=contextvars.Context()) for _ in range(2)]
        return await asyncio.gather(*tasks)

    first, second = asyncio.run(both())
    assert first is not second


def test_threads_of_one_job_open_it_once(journal: Journal) -> None:
    """Steps in threads that ask at the same moment get the same object."""
    infrastructure = application(journal)
    meet = threading.Barrier(4)
    got = []

    def ask() -> None:
        meet.wait()
        got.append(infrastructure.one())

    with di.scope():
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(ask,)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert all(each is got[0] for each in got)
    assert journal.told == ["open session db", "close session"]


def test_an_async_context_manager_is_refused() -> None:
    """A provider cannot wait; the message says where it is opened instead."""

    @asynccontextmanager
    async def awaited() -> Any:
        yield 1

    with (
        pytest.raises(DeclarationError, match=r"async context manager given as JobKit\(container=\.\.\.\)"),
        di.scope(),
    ):
        di.Scoped(awaited)()
    with pytest.raises(DeclarationError, match="expected a context manager, got 3"), di.scope():
        di.Scoped(lambda: 3)()


def test_overriding_works(journal: Journal) -> None:
    """A test may put a plain object in place of what is opened once a job."""
    infrastructure = application(journal)
    with infrastructure.session.override(providers.Object("fake")):
        assert infrastructure.one() == "fake"
