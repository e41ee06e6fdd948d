"""The demo's view while jobs run: a live one in a terminal, lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobkit import JobState

from .board import Board, happening

LATEST = 5
"""How many results the live view shows."""

ID_WIDTH = 12
"""Characters of an invoice's id."""


class Screen(Protocol):
    """Shows boards, one after another, in a `with` block."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the last board on the screen."""
        ...

    def show(self, board: Board) -> None:
        """Show what has changed."""
        ...


def screen_for(console: Console) -> Screen:
    """Make the screen that suits the console: a pipe or a file gets no control characters."""
    return LiveScreen(console) if console.is_terminal else LineScreen(console)


class LineScreen:
    """One line for each thing that happens, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave what was printed."""

    def show(self, board: Board) -> None:
        """Print a line for each job that has moved."""
        for invoice, job in board.jobs.items():
            line = happening(job, board.results.get(invoice))
            if job.state is JobState.QUEUED or self._said.get(invoice) == line:
                continue
            self._said[invoice] = line
            when = time.monotonic() - self._began
            self._console.print(f"{when:5.1f} s  {invoice}  {line}", markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """Queues, running jobs with their progress, and the latest results, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=10)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, board: Board) -> None:
        """Redraw."""
        parts = (_queues(board), _running(board), _latest(board))
        self._live.update(Group(*(Panel(part, title=title, title_align="left") for title, part in parts)))


def _queues(board: Board) -> tuple[str, RenderableType]:
    table = Table.grid(padding=(0, 3), expand=True)
    table.add_column()
    for heading in ("waiting", "running", "done", "failed"):
        table.add_column(heading, justify="right")
    table.add_row("", *(Text(each, style="dim") for each in ("waiting", "running", "done", "failed")))
    for queue in board.queues:
        failed = Text(str(queue.failed), style="red" if queue.failed else "")
        table.add_row(queue.name, str(queue.waiting), str(queue.running), str(queue.done), failed)
    return "Queues", table


def _running(board: Board) -> tuple[str, RenderableType]:
    table = Table.grid(padding=(0, 2), expand=True)
    for width in (ID_WIDTH, 11, None, 5):
        table.add_column(width=width, ratio=None if width else 1)
    for invoice, job in board.running:
        percent = job.progress.percent if job.progress else 0.0
        message = job.progress.message if job.progress else "started"
        table.add_row(
            invoice, Text(message, style="dim"), ProgressBar(total=100, completed=percent), f"{percent:.0f} %"
        )
    return "Running", table if board.running else Text("nothing", style="dim")


def _latest(board: Board) -> tuple[str, RenderableType]:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=ID_WIDTH)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for invoice, job in board.ended[-LATEST:]:
        line = happening(job, board.results.get(invoice))
        table.add_row(invoice, Text(line, style="red" if job.state is JobState.FAILED else "green"))
    return "Latest results", table if board.ended else Text("none yet", style="dim")
