"""Documents as programs: their Python is executed, their files written, their commands run, in the order of the page.

A page's blocks share a namespace and a folder, and each kind of block has one meaning:

- `python`: executed; with `title="x.py"` it is written to that file instead (`toml` and `ini` with a title too).
- `console`: `$` lines are commands, what follows one is its output (`...` stands for anything, a time for any time).
- `text`, `mermaid`: read only.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from rq.cli import main as rq_cli
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from jobkit.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").rglob("*.md"))
"""Pages beside the examples, whose commands need what an app of that kind needs: checked, not run."""
KINDS = {"python", "toml", "ini", "console", "text", "mermaid"}
READ_ONLY = {"ini", "text", "mermaid"}
FENCE = re.compile(r'(?P<language>[a-z]+)(?: title="(?P<title>[^"]+)")?[ \t]*\n')
SHOWN_ONLY = {"pip", "git", "systemctl", "journalctl", "sudo", "kill", "./dev"}
"""Programs that a page may show and the tests do not run; `pip` and `./dev` are checked (test_reference.py)."""
EXAMPLE_URL = "redis://localhost:6379/0"
"""The server of the pages; the tests put one of their own in its place."""
PATIENCE = 20.0
"""Seconds for one command; a worker, for its end."""


def blocks(document: Document) -> Iterator[Region]:
    """Sybil's parser: every fenced block, told apart by its info line."""
    for region in RawFencedCodeBlockLexer(FENCE)(document):
        region.parsed = region.lexemes["source"]
        region.evaluator = evaluate
        yield region


SYBIL = Sybil([blocks], path=str(ROOT))


def evaluate(example: Example) -> str | None:
    """One block, by its kind; the text of what is wrong, or None."""
    language, title = example.region.lexemes["language"], example.region.lexemes["title"]
    if language not in KINDS:
        return f"expected one of {', '.join(sorted(KINDS))} as the kind of a block, got {language!r}"
    if title is not None:
        path = Path(title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(example.parsed), encoding="utf-8")
    if language == "toml":
        tomllib.loads(example.parsed)
    elif language == "console":
        return Terminal.of(example).play(example.parsed)
    elif language == "python" and title is None:
        with contextlib.redirect_stdout(io.StringIO()):
            PythonEvaluator()(example)
    return None


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, expected output) for each `$` line of a console block; a backslash continues a line."""
    for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def timeless(output: str) -> str:
    """The output with its times blotted out."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)", "(time)", output)


def words(command: str) -> tuple[dict[str, str], list[str]]:
    """A command's own variables, and its words."""
    split = shlex.split(command, comments=True)
    own: dict[str, str] = {}
    while split and re.match(r"[A-Z_]+=", split[0]):
        name, _, value = split.pop(0).partition("=")
        own[name] = value
    return own, split


def check_usage(arguments: list[str]) -> None:
    """Raise click's UsageError unless these are words that `jobkit` takes."""
    context = main.make_context("jobkit", list(arguments))
    command: click.Command = main
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


class Terminal:
    """Runs a page's commands on the server of `url`. Workers go on in the background until `close`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._exported: dict[str, str] = {}
        self._workers: list[subprocess.Popen[str]] = []

    @classmethod
    def of(cls, example: Example) -> Terminal:
        """The one terminal of the example's page."""
        terminal: Terminal = example.namespace["_terminal"]
        return terminal

    def play(self, text: str) -> str | None:
        """Run the commands of a block; what is wrong with the first that is."""
        for command, expected in commands(text):
            got = self._run(command)
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            if got is not None and not doctest.OutputChecker().check_output(timeless(expected), timeless(got), flags):
                return f"$ {command}\nexpected:\n{expected}\ngot:\n{got}"
        return None

    def _run(self, command: str) -> str | None:
        """The command's output; None where there is none to look at."""
        own, (program, *rest) = words(command.replace(EXAMPLE_URL, self._url))
        env = self._exported | own
        match program:
            case "jobkit":
                return self._jobkit(env, rest)
            case "rq":
                return CliRunner(env=env).invoke(rq_cli, rest, catch_exceptions=False).output
            case "python":
                return _python(env, rest)
            case "export":
                self._exported |= words(" ".join(rest))[0]
            case _:
                assert program in SHOWN_ONLY, f"$ {command}: the tests know no program {program!r}"
        return None

    def _jobkit(self, env: dict[str, str], rest: list[str]) -> str | None:
        check_usage(rest)
        match rest[0]:
            case "demo" | "soak":
                return None  # these take a while, and have tests of their own
            case "worker":
                self._start_worker(env, rest)
                return None
            case _:
                return CliRunner(env=env).invoke(main, rest, catch_exceptions=False).output

    def _start_worker(self, env: dict[str, str], rest: list[str]) -> None:
        """Start one, and wait until it says that it has begun."""
        worker = subprocess.Popen(
            [sys.executable, "-m", "jobkit", *rest],
            env=os.environ | env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._workers.append(worker)
        assert worker.stderr
        told = []
        for line in worker.stderr:
            told.append(line)
            if "worker started" in line:
                return
        raise AssertionError("".join(told))

    def close(self) -> None:
        """End the workers as an operator does; each has to end well."""
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            try:
                _, told = worker.communicate(timeout=PATIENCE)
            finally:
                worker.kill()
            assert worker.returncode == 0, told


def _python(env: dict[str, str], arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout


@contextlib.contextmanager
def opened(page: Path, url: str) -> Iterator[Document]:
    """A page, parsed, with a namespace that is a module (classes need one) and a terminal."""
    document = SYBIL.parse(page)
    module = types.ModuleType(f"page_{page.stem.replace('-', '_').lower()}")
    terminal = Terminal(url)
    module.__dict__["_terminal"] = terminal
    document.namespace = module.__dict__
    before = set(sys.modules)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield document
    finally:
        terminal.close()
        folder = str(Path.cwd())
        sys.path.remove(folder)
        for name in set(sys.modules) - before:
            made: Any = sys.modules[name]
            if made is module or str(getattr(made, "__file__", None) or "").startswith(folder):
                del sys.modules[name]
