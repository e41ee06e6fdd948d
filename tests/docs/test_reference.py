"""The reference cannot drift: what the code declares, the pages name, and the other way round."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

import jobkit
from jobkit import errors
from jobkit.cli import main
from jobkit.config import QueueOverride, Settings
from jobkit.dedupe import Dedupe
from jobkit.payloads import _KEYWORDS
from jobkit.policies import Exponential, Fixed, Retention, Retry
from jobkit.queues import QueueSpec
from jobkit.store.keys import _BLOCK, _HEAD
from jobkit.store.scripting import NAMES
from tests.docs.documents import EXAMPLES, PAGES, ROOT, SYBIL, check_usage, commands, words

DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text(name: str) -> str:
    """A page of the documentation."""
    return (DOCS / name).read_text(encoding="utf-8")


def row(page: str, *cells: str) -> str | None:
    """The line of a table that begins with these cells."""
    for line in page.splitlines():
        if [each.strip() for each in line.split("|")[1 : len(cells) + 1]] == list(cells):
            return line
    return None


def shown(value: Any) -> str:
    """A default as the tables write it."""
    return "none" if value is None or value in ((), {}) else f"`{value}`"


def section(page: str, title: str) -> str:
    """The part of a page under the heading that begins so."""
    found = re.search(rf"^## `?{re.escape(title)}.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[0]


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command under this one that is no group, with its words."""
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from walk(each, (*path, name))
    else:
        yield path, command


COMMANDS = dict(walk(main, ("jobkit",)))
CONSOLE = [
    pytest.param(command, id=f"{page.relative_to(ROOT)}:{command[:40]}")
    for page in [*PAGES, *EXAMPLES]
    for example in SYBIL.parse(page)
    if example.region.lexemes["language"] == "console"
    for command, _ in commands(example.parsed)
]


def test_settings() -> None:
    """Every setting is in the table with its variable and its default."""
    page = text("reference/settings.md")
    for name, field in Settings.model_fields.items():
        if name == "queues":
            assert row(page, "`queues`", "`JOBKIT_QUEUES__<QUEUE>__<OPTION>`", "none"), name
            continue
        default = "embedded://" if name == "redis_url" else field.get_default(call_default_factory=True)
        assert row(page, f"`{name}`", f"`JOBKIT_{name.upper()}`", shown(default)), name
    for option in QueueOverride.model_fields:
        assert f"`{option}`" in section(page, "queues")


def test_settings_of_the_readme() -> None:
    """Every setting is in the README's table, and no variable there is unknown."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `JOBKIT_([A-Z_]+?)(?:__[^`]*)?` \|", page, re.MULTILINE))
    assert told == {"APP", *(name.upper() for name in Settings.model_fields)}


@pytest.mark.parametrize("policy", [QueueSpec, Retry, Exponential, Fixed, Retention, Dedupe])
def test_policies(policy: type[Any]) -> None:
    """Every option of every policy is in its table with its default."""
    page = section(text("reference/policies.md"), policy.__name__)
    for field in attrs.fields(policy):
        match field.default:
            case attrs.NOTHING:
                default = ""
            case Retry():
                default = "`Retry()`"
            case Retention():
                default = "`Retention()`"
            case Exponential(base=base):
                default = f"`Exponential({base:g})`"
            case value:
                default = shown(value)
        assert row(page, f"`{field.name}`", default), field.name


def test_payload_keywords() -> None:
    """Every keyword of a payload's class is in its table."""
    page = section(text("reference/policies.md"), "Payload keywords")
    for keyword in _KEYWORDS:
        assert f"\n| `{keyword}` |" in page


def test_errors() -> None:
    """The page shows the tree of the code, and the tree every exception."""
    assert errors.__doc__
    tree = textwrap.dedent(errors.__doc__.partition("\n\n")[2]).strip()
    assert tree in text("reference/errors.md")
    for name, found in inspect.getmembers(errors, inspect.isclass):
        if issubclass(found, BaseException):
            assert re.search(rf"\b{name}\b", tree), name


def test_commands() -> None:
    """Every command has its section, which names its options; no section is about a command that is not there."""
    page = text("reference/cli.md")
    for path, command in COMMANDS.items():
        part = section(page, " ".join(path))
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden and parameter.opts[0] != "--app":
                assert f"`{parameter.opts[0]}" in part, f"{' '.join(path)} {parameter.opts[0]}"
    assert set(re.findall(r"^## `(jobkit .*)`$", page, re.MULTILINE)) == {" ".join(path) for path in COMMANDS}


def test_scripts_and_keys() -> None:
    """Internals names every script and every key."""
    page = text("explanation/internals.md")
    for name in NAMES:
        assert f"`{name}`" in page, name
    source = (ROOT / "src/jobkit/store/keys.py").read_text(encoding="utf-8")
    templates = {*_BLOCK, *_HEAD, *re.findall(r'self\._of\(f?"([^"]+)"\)', source)}
    for template in templates:
        if template in {"{state}:{queue}", "jk:{kind}:{queue}"}:
            continue  # these are in the block
        name = re.sub(r"\{(?:q|queue)\}", "{queue}", template)
        name = name.replace("{job_id}", "{id}")
        assert f"`{name}`" in page, name


@pytest.mark.parametrize("page", ["explanation/contract.md", "reference/rq.md"])
def test_cited_tests(page: str) -> None:
    """Each test that the contract or the table of RQ's features cites exists."""
    cited = re.findall(r"`(tests/[\w/.-]+\.py)::(\w+)`", text(page))
    assert cited
    for path, name in cited:
        functions = ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        assert name in {each.name for each in functions if isinstance(each, ast.FunctionDef)}, (path, name)


def test_rq_features() -> None:
    """Each row of the tables of RQ's features names a test."""
    rows = re.findall(r"^\| (?!---|feature |command |what )(.+) \|$", text("reference/rq.md"), re.MULTILINE)
    assert len(rows) > 30
    for each in rows:
        assert re.search(r"`tests/[\w/.-]+\.py::\w+`$", each), each


@pytest.mark.parametrize("command", CONSOLE)
def test_usage(command: str) -> None:
    """Every command that a page shows is one, with options that it has."""
    _, (program, *rest) = words(command)
    if program == "jobkit":
        check_usage(rest)
    elif program == "./dev":
        steps = runpy.run_path(str(ROOT / "dev"))["USAGE"]
        assert re.search(rf"^  {rest[0]} ", steps, re.MULTILINE)
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = project["optional-dependencies"]
        for named in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
            assert set(named.split(",")) <= extras.keys()


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Every link to a file of this project leads to one, and to a heading where it names one."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(prose):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, link


def test_map() -> None:
    """The map leads to every page."""
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(text("index.md"))}
    assert linked >= set(DOCS.rglob("*.md")) - {DOCS / "index.md"}


def test_public_names() -> None:
    """Every public name is used or explained somewhere in the documentation."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md")
    for name in jobkit.__all__:
        assert re.search(rf"\b{name}\b", pages), name
