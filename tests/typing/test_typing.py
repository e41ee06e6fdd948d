"""What type checkers say about an application: nothing about a right one, each planted mistake about a wrong one."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCE = ROOT / "src"

# A queue's name that is spelt as a plain string is known only to the kit, which refuses it at the enqueue.
UNSEEN = {"mypy": {"M10b"}, "pyright": {"M10b"}}


def marked() -> dict[int, str]:
    """The mark of each planted mistake by line."""
    lines = (HERE / "mistakes.py").read_text().splitlines()
    return {at: found[1] for at, line in enumerate(lines, 1) if (found := re.search(r"# (M\d+\w?) ", line))}


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """What a checker prints; it has to end with found errors (1), not with trouble of its own."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=HERE,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def mypy() -> set[tuple[str, int]]:
    """The places of mypy's errors, as a user without its pydantic plugin sees them."""
    told = run(
        "mypy",
        "--config-file=",
        "--strict",
        f"--cache-dir={ROOT / '.mypy_cache'}",
        "app.py",
        "mistakes.py",
        env={"MYPYPATH": str(SOURCE)},
    )
    return {(found[1], int(found[2])) for found in re.finditer(r"^(\w+\.py):(\d+): error:", told, re.MULTILINE)}


def pyright() -> set[tuple[str, int]]:
    """The places of pyright's errors, in its strict mode."""
    told = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", "."))
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in told["generalDiagnostics"]
        if each["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_checkers_find_each_planted_mistake_and_nothing_else(checker):
    """The right application is clean; of the wrong one each marked line is told, apart from those listed as unseen."""
    marks = marked()
    found = checker()
    assert {place for place in found if place[0] != "mistakes.py"} == set()
    lines = {line for _, line in found}
    assert lines - marks.keys() == set(), "an error where no mistake was planted"
    unseen = {mark for line, mark in marks.items() if line not in lines}
    assert unseen == UNSEEN[checker.__name__]


def test_the_mistakes_are_at_least_the_thirty_of_the_trial():
    """Each mark stands once, and there are no fewer than thirty."""
    marks = list(marked().values())
    assert len(marks) == len(set(marks))
    assert len(marks) >= 30
