import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Jobkit

KIT = "from tests.cli.acme import create_kit\nfrom jobkit import JobKit\n"


@pytest.fixture
def folder(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the current folder, empty, with no app named by the environment."""
    monkeypatch.delenv("JOBKIT_APP")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


def test_option_before_variable_before_project(jobkit: Jobkit, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--app wins over JOBKIT_APP, which wins over pyproject.toml; each says where a wrong one came from."""
    (folder / "pyproject.toml").write_text('[tool.jobkit]\napp = "acme_project:kit"\n')
    assert f"app 'acme_project:kit' (from {folder}/pyproject.toml)" in jobkit("queues", "ls").stderr
    monkeypatch.setenv("JOBKIT_APP", "acme_variable:kit")
    assert "app 'acme_variable:kit' (from JOBKIT_APP)" in jobkit("queues", "ls").stderr
    assert "app 'acme_option:kit' (from --app)" in jobkit("queues", "ls", "--app", "acme_option:kit").stderr


def test_app_of_the_current_folder(jobkit: Jobkit, folder: Path) -> None:
    """A module of the current folder is found, named by the pyproject.toml of a folder above."""
    (folder / "pyproject.toml").write_text('[tool.jobkit]\napp = "acme_below:create_kit"\n')
    below = folder / "below"
    below.mkdir()
    (below / "pyproject.toml").write_text("[project]\n")
    (below / "acme_below.py").write_text(KIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(below)
        assert jobkit("queues", "ls").exit_code == 0


def test_app_may_be_a_kit_or_an_attribute_of_something(jobkit: Jobkit, folder: Path) -> None:
    """The attribute is a kit or a function that makes one, a dotted one too."""
    (folder / "acme_ready.py").write_text(
        KIT + "kit = create_kit()\nclass Jobs:\n    make = staticmethod(create_kit)\n"
    )
    for named in ("acme_ready:kit", "acme_ready:create_kit", "acme_ready:Jobs.make"):
        assert jobkit("queues", "ls", "--app", named).exit_code == 0


def test_no_app(jobkit: Jobkit, folder: Path) -> None:
    """Where no app is named, the three ways to name one are told."""
    result = jobkit("queues", "ls")
    assert result.exit_code == 2
    for way in ("--app module:attr", "JOBKIT_APP", "[tool.jobkit]"):
        assert way in result.stderr


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("tests.cli.acme", "expected module:attr, such as acme.jobs:create_kit"),
        ("tests.cli.acme:", "expected module:attr"),
        (".acme:kit", "expected module:attr"),
        ("tests.cli.acm:create_kit", "no module named 'tests.cli.acm' in"),
        ("tests.cli.acme:create_kits", "has no 'create_kits'; did you mean 'create_kit'?"),
        ("tests.cli.acme:not_a_kit", "expected a JobKit or a function that makes one, got 3"),
    ],
)
def test_wrong_name(jobkit: Jobkit, folder: Path, named: str, told: str) -> None:
    """A name that leads to no kit is told, with 2."""
    result = jobkit("queues", "ls", "--app", named)
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [("[tool.jobkit\n", "is not TOML"), ("[tool.jobkit]\napp = 3\n", 'expected "module:attr", got 3')],
)
def test_wrong_project_file(jobkit: Jobkit, folder: Path, text: str, told: str) -> None:
    """A pyproject.toml that cannot be read is named, with 2."""
    (folder / "pyproject.toml").write_text(text)
    result = jobkit("queues", "ls")
    assert result.exit_code == 2
    assert told in result.stderr
    assert f"{folder}/pyproject.toml" in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def f(:\n", "SyntaxError: invalid syntax"),
        ("def create_kit():\n    return {}['DATABASE_URL']\n", "KeyError: 'DATABASE_URL'"),
    ],
)
def test_a_bug_in_the_app_shows_its_traceback(jobkit: Jobkit, folder: Path, text: str, told: str) -> None:
    """An error in the app's own code is told with the lines of the app, and none of jobkit's; with 1."""
    (folder / "acme_bug.py").write_text(text)
    result = jobkit("queues", "ls", "--app", "acme_bug:create_kit")
    assert result.exit_code == 1
    assert told in result.stderr
    assert str(folder / "acme_bug.py") in result.stderr
    assert "jobkit/cli" not in result.stderr


def test_a_wrong_declaration_in_the_app_is_told(jobkit: Jobkit, folder: Path) -> None:
    """A jobkit error while the app is imported or made keeps its message, with 2."""
    (folder / "acme_wrong.py").write_text(
        KIT + "from jobkit import QueueSpec\nkit = JobKit(queues=[QueueSpec('a', retries=3)])\n"
    )
    result = jobkit("queues", "ls", "--app", "acme_wrong:kit")
    assert result.exit_code == 2
    assert "QueueSpec: unknown option 'retries'; did you mean 'retry'?" in result.stderr
    assert "Traceback" not in result.stderr


def test_processors_that_do_not_import(jobkit: Jobkit, folder: Path) -> None:
    """A module of processors that fails to import ends the commands that need it, and not the others."""
    (folder / "acme_half.py").write_text(
        "from jobkit import *\ndef kit(): return JobKit(queues=[QueueSpec('a')], processors='acme_missing')\n"
    )
    assert jobkit("queues", "ls", "--app", "acme_half:kit").exit_code == 0
    for words in (["worker"], ["enqueue", "a.b"]):
        result = jobkit(*words, "--app", "acme_half:kit")
        assert result.exit_code == 2
        assert "module 'acme_missing' does not import: ModuleNotFoundError" in result.stderr
