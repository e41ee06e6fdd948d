"""`--tag KEY=VALUE`: the labels of jobs, given or asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def tag_option(help_text: str) -> Callable[[Any], Any]:
    """The option, which may be repeated; the command gets `tags`, a dict."""
    return click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, callback=_read, help=help_text)


def _read(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"expected KEY=VALUE, got {pair!r}")
        tags[key] = value
    return tags
