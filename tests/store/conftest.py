"""The store's contract runs on the embedded Valkey and on Debian's Redis."""

from collections.abc import Iterator

import pytest

from tests.store.world import World


@pytest.fixture
def world(both_servers: str) -> Iterator[World]:
    """Give a store on an empty server, once of each kind."""
    made = World(both_servers)
    yield made
    made.close()


@pytest.fixture
def one_world(store_url: str) -> Iterator[World]:
    """Give a store on an empty server of one kind, for what does not depend on the kind."""
    made = World(store_url)
    yield made
    made.close()
