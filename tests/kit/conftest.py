"""A kit on an empty server, with and without a worker beside it."""

from collections.abc import Iterator

import pytest

from jobkit import JobKit
from tests.kit.app import Stage, make_kit


@pytest.fixture
def stage() -> Stage:
    """Give what the test and its processors share."""
    return Stage()


@pytest.fixture
def kit(store_url: str, stage: Stage) -> Iterator[JobKit]:
    """Give a kit without a worker."""
    with make_kit(store_url, stage) as made:
        yield made


@pytest.fixture
def live(store_url: str, stage: Stage) -> Iterator[JobKit]:
    """Give a kit with a worker in threads; held jobs are let go at the end."""
    with make_kit(store_url, stage).running() as made:
        yield made
        stage.go.set()
