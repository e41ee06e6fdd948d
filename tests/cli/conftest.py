"""The command line as its user calls it, on an empty server."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobkit import JobKit
from jobkit.cli import main
from tests.kit.app import Stage, make_kit

Jobkit = Callable[..., Result]


@pytest.fixture
def environment(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the app and the server to the commands, and undo what finding an app changes."""
    monkeypatch.setenv("JOBKIT_APP", "tests.cli.acme:create_kit")
    monkeypatch.setenv("JOBKIT_REDIS_URL", store_url)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def jobkit(environment: None) -> Jobkit:
    """Give a function that runs a command in this process, its output not a terminal."""

    def run(*words: str, text: str | None = None) -> Result:
        result = CliRunner().invoke(main, words, input=text, prog_name="jobkit")
        # What a command does not mean to raise is a bug, and would reach its user as a traceback.
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def process_environment(store_url: str) -> dict[str, str]:
    """Give the environment of a process that runs the command."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("JOBKIT_", "COLUMNS"))}
    root = str(Path(__file__).parents[2])
    return env | {
        "JOBKIT_APP": "tests.cli.acme:create_kit",
        "JOBKIT_REDIS_URL": store_url,
        "PYTHONPATH": os.pathsep.join([root, *sys.path]),
    }


@pytest.fixture
def kit(store_url: str) -> Iterator[JobKit]:
    """Give a kit on the commands' server."""
    with make_kit(store_url) as made:
        yield made


@pytest.fixture
def live(store_url: str) -> Iterator[JobKit]:
    """Give a kit on the commands' server, with a worker."""
    stage = Stage()
    with make_kit(store_url, stage).running() as made:
        yield made
        stage.go.set()
