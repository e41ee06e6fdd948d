"""Finding the app: `--app module:attr`, then JOBKIT_APP, then `[tool.jobkit] app` of the pyproject.toml above."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jobkit.cli.failures import Failure, told
from jobkit.errors import DeclarationError, JobkitError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from jobkit.factory import JobKit

app_option: Final[Callable[[Any], Any]] = click.option(
    "--app",
    metavar="MODULE:ATTR",
    help="The JobKit, or a function that makes it. Default: JOBKIT_APP, then [tool.jobkit] app in pyproject.toml.",
)


def load_app(app: str | None, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> JobKit:
    """The kit that the app names.

    The current folder is importable, as for `python -m`.

    Raises:
        click.UsageError: no app is named, or the pyproject.toml is none.
        DeclarationError: the name leads to no kit.
        Failure: the app's own code failed; the message is its traceback.

    """
    folder = Path.cwd() if folder is None else folder
    named, origin = _named(app, environ, folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return _kit(named, f"app {named!r} ({origin})")


def _named(app: str | None, environ: Mapping[str, str], folder: Path) -> tuple[str, str]:
    """The app's name, and who said it."""
    if app:
        return app, "from --app"
    if found := environ.get("JOBKIT_APP"):
        return found, "from JOBKIT_APP"
    for each in (folder, *folder.parents):
        path = each / "pyproject.toml"
        if path.is_file() and (found := _of_pyproject(path)):
            return found, f"from {path}"
    raise click.UsageError(
        'no app: give --app module:attr, set JOBKIT_APP, or write app = "module:attr" under [tool.jobkit] in '
        "pyproject.toml; it names a JobKit, or a function that makes one"
    )


def _of_pyproject(path: Path) -> str | None:
    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("jobkit", {}).get("app")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not TOML: {error}") from error
    if found is not None and not isinstance(found, str):
        raise click.UsageError(f'{path}: [tool.jobkit] app: expected "module:attr", got {found!r}')
    return found


def _kit(named: str, who: str) -> JobKit:
    from jobkit.factory import JobKit

    module_name, colon, attribute = named.partition(":")
    if not colon or not module_name or not attribute or module_name.startswith("."):
        raise DeclarationError(f"{who}: expected module:attr, such as acme.jobs:create_kit")
    module = _imported(module_name, who)
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            near = did_you_mean(part, vars(found) if hasattr(found, "__dict__") else ())
            raise DeclarationError(f"{who}: {module_name} has no {attribute!r}{near}") from error
    kit = found if isinstance(found, JobKit) or not callable(found) else _made(found, who)
    if not isinstance(kit, JobKit):
        raise DeclarationError(f"{who}: expected a JobKit or a function that makes one, got {kit!r:.200}")
    return kit


def _imported(name: str, who: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except JobkitError as error:
        raise type(error)(f"{who}: {error}") from error
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise DeclarationError(
                f"{who}: no module named {error.name!r} in {Path.cwd()} or on Python's path; "
                "run from the folder that holds it, or install it"
            ) from error
        raise Failure(f"{who}: importing {name} failed:\n{told(error)}") from error
    except Exception as error:
        raise Failure(f"{who}: importing {name} failed:\n{told(error)}") from error


def _made(make: Callable[[], object], who: str) -> object:
    try:
        return make()
    except JobkitError:
        raise
    except Exception as error:
        raise Failure(f"{who}: making the kit failed:\n{told(error)}") from error
