"""Tables of a terminal, which are made to fit it, and of a pipe, where nothing is cut or dropped."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final, Literal

import attrs
import click
from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP: Final = "  "
_LEAST: Final = 12
"""Columns of a terminal under which a text that is cut tells nothing."""


@attrs.frozen
class Cell:
    """What one place of a table says, and in which colour."""

    text: str
    colour: str | None = None
    dim: bool = False


@attrs.frozen(kw_only=True)
class Column:
    """A column.

    Attributes:
        title: in a pipe, and in a terminal that is wide enough.
        short: a title for narrower ones; the same when empty.
        align: numbers stand at the right.
        spare: the columns with the highest go first where the terminal is too narrow; 0 always stays.
        cut: whether its texts may be cut to the terminal's width; for one, the last.

    """

    title: str
    short: str = ""
    align: Literal["left", "right"] = "left"
    spare: int = 0
    cut: bool = False


def terminal_width() -> int | None:
    """Columns of the terminal that reads standard output; None where a file or a program does."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> list[str]:
    """The table's lines, the titles first; `width` None leaves everything whole.

    In a terminal an empty place is blank; in a pipe it is `-`, so that every line has as many fields.
    """
    rows = [[attrs.evolve(cell, text=_one_line(cell.text)) for cell in row] for row in rows]
    shown = list(range(len(columns)))
    titles = [each.title for each in columns]
    sizes = _sizes(titles, rows)
    if width is not None:
        if _total(shown, sizes) > width:
            titles = [each.short or each.title for each in columns]
            sizes = _sizes(titles, rows)
        while (total := _total(shown, sizes)) > width:
            last = shown[-1]
            room = sizes[last] - (total - width)
            if columns[last].cut and room >= min(_LEAST, sizes[last]):
                sizes[last] = room
                break
            worst = max(shown, key=lambda place: columns[place].spare)
            if columns[worst].spare == 0:
                break
            shown.remove(worst)
    head = [Cell(title, dim=True) for title in titles]
    filled = rows if width is not None else [[each if each.text else Cell("-") for each in row] for row in rows]
    return [_line(columns, shown, sizes, row) for row in (head, *filled)]


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table on standard output, as wide as that is."""
    for line in lay_out(columns, rows, terminal_width()):
        click.echo(line)


def _one_line(text: str) -> str:
    """The text without line ends, and without what would steer the terminal: errors and tags come from anywhere."""
    return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))


def _sizes(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[int]:
    return [max(map(cell_len, (title, *(row[place].text for row in rows)))) for place, title in enumerate(titles)]


def _total(shown: Sequence[int], sizes: Sequence[int]) -> int:
    return sum(sizes[place] for place in shown) + len(_GAP) * (len(shown) - 1)


def _line(columns: Sequence[Column], shown: Sequence[int], sizes: Sequence[int], row: Sequence[Cell]) -> str:
    parts: list[str] = []
    for place in shown:
        cell, size = row[place], sizes[place]
        text = f"{set_cell_size(cell.text, size - 1)}…" if cell_len(cell.text) > size else cell.text
        padding = " " * (size - cell_len(text))
        styled = click.style(text, fg=cell.colour, dim=cell.dim or None) if cell.colour or cell.dim else text
        if columns[place].align == "right":
            parts.append(padding + styled)
        else:
            parts.append(styled if place == shown[-1] else styled + padding)
    return _GAP.join(parts).rstrip()
