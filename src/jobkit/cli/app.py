"""Finding the app: `--app module:attr`, then JOBKIT_APP, then `[tool.jobkit] app` of the pyproject.toml above."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from jobkit.errors import DeclarationError, did_you_mean
from jobkit.factory import JobKit

app_option: Callable[[Any], Any] = click.option(
    "--app",
    metavar="MODULE:ATTR",
    help="The kit, or a function that makes it. Default: JOBKIT_APP, then [tool.jobkit] app in pyproject.toml.",
)


def load_app(app: str | None, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> JobKit:
    """The kit that the app names.

    The current folder is importable, as for `python -m`. Raises click.UsageError where no app is named, and
    DeclarationError where the name leads to no kit.
    """
    folder = Path.cwd() if folder is None else folder
    named = app or environ.get("JOBKIT_APP") or _of_pyproject(folder)
    if not named:
        raise click.UsageError(
            'no app: give --app module:attr, set JOBKIT_APP, or write [tool.jobkit] app = "module:attr" in '
            "pyproject.toml; it is a JobKit or a function that makes one"
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return _kit(named)


def _of_pyproject(folder: Path) -> str | None:
    for each in (folder, *folder.parents):
        path = each / "pyproject.toml"
        if path.is_file():
            try:
                found = tomllib.loads(path.read_text(encoding="utf-8"))
            except tomllib.TOMLDecodeError as error:
                raise click.UsageError(f"{path}: not TOML: {error}") from error
            app = found.get("tool", {}).get("jobkit", {}).get("app")
            return str(app) if app else None
    return None


def _kit(named: str) -> JobKit:
    module_name, colon, attribute = named.partition(":")
    if not colon or not module_name or not attribute:
        raise DeclarationError(f"app: expected module:attr, such as acme.jobs:create_kit, got {named!r}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise DeclarationError(f"app {named!r}: cannot import {module_name}: {error}") from error
    try:
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise DeclarationError(
            f"app {named!r}: {module_name} has no {attribute!r}{did_you_mean(attribute, vars(module))}"
        ) from error
    kit = found if isinstance(found, JobKit) or not callable(found) else found()
    if not isinstance(kit, JobKit):
        raise DeclarationError(f"app {named!r}: expected a JobKit or a function that makes one, got {kit!r:.200}")
    return kit
