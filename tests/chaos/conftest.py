"""What the chaos tests share: proxies that go with the test, and the look at what a life has left."""

from collections.abc import Callable, Iterator

import pytest

from tests.chaos.proxy import Proxy


@pytest.fixture
def proxied() -> Iterator[Callable[..., Proxy]]:
    """Make proxies, given the URL of the server behind."""
    made: list[Proxy] = []

    def make(url: str, *, latency: float = 0.0) -> Proxy:
        made.append(Proxy(url, latency=latency))
        return made[-1]

    yield make
    for each in made:
        each.close()
