import pytest

from jobkit.cli.tables import Cell, Column, lay_out
from jobkit.cli.times import ago, span

ID = "0123456789abcdef0123456789abcdef"
COLUMNS = (
    Column(title="id"),
    Column(title="queue", spare=2),
    Column(title="attempt", short="try", align="right", spare=1),
    Column(title="note", spare=3, cut=True),
)


def rows(note: str = "ValueError: the invoice has no number") -> list[list[Cell]]:
    """Give two jobs, one with a note."""
    return [[Cell(ID), Cell("invoices"), Cell("1/3"), Cell(note)], [Cell("mine"), Cell("mail"), Cell("0/3"), Cell("")]]


def test_a_pipe_gets_everything() -> None:
    """Without a width nothing is cut or dropped, and an empty place is a dash."""
    head, first, second = (line.split(None, 3) for line in lay_out(COLUMNS, rows("x" * 500), None))
    assert len(first[3]) == 500
    assert second == ["mine", "mail", "0/3", "-"]
    assert len(head) == 4


@pytest.mark.parametrize("width", range(32, 140))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """At any width from that of an id on, lines fit, and ids are whole and on one line."""
    from click import unstyle

    head, first, second = map(unstyle, lay_out(COLUMNS, rows(), width))
    assert max(map(len, (head, first, second))) <= width
    assert first.startswith(ID)
    assert second.startswith("mine")


def test_least_important_columns_go_first() -> None:
    """Titles become short, the note is cut, then it goes, and what matters least after it."""
    from click import unstyle

    def titles(width: int) -> str:
        return unstyle(lay_out(COLUMNS, rows(), width)[0])

    assert titles(100).split() == ["id", "queue", "attempt", "note"]
    assert titles(64).split() == ["id", "queue", "try", "note"]
    assert titles(55).split() == ["id", "queue", "try"]
    assert titles(45).split() == ["id", "try"]
    assert titles(20).split() == ["id"]


def test_cut_text_says_so() -> None:
    """A text that is cut ends with an ellipsis, at the edge of the terminal."""
    line = lay_out(COLUMNS, rows(), 62)[1]
    assert line.endswith("ValueError: …")


def test_wide_letters_take_two_places() -> None:
    """Columns stand below each other where letters are twice as wide."""
    lines = lay_out(COLUMNS[1:3], [[Cell("請求書"), Cell("1/3")], [Cell("mail"), Cell("2/3")]], None)
    assert lines[1:] == ["請求書      1/3", "mail        2/3"]


def test_a_text_of_several_lines_stays_on_one() -> None:
    """Line ends inside a text become spaces, and what would steer the terminal does not reach it."""
    assert lay_out(COLUMNS[:1], [[Cell("a\n\tb")]], None)[1] == "a b"
    assert lay_out(COLUMNS[:1], [[Cell("a\x1b[2Jb")]], None)[1] == "a [2Jb"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3605, "1h"),
        (90_000, "1d 1h"),
        (864_000, "10d"),
    ],
)
def test_spans_have_two_units(seconds: float, told: str) -> None:
    """A duration is told by its largest unit and the next one."""
    assert span(seconds) == told


def test_no_moment_is_no_text() -> None:
    """Where there is no moment there is nothing to tell."""
    assert ago(None) == ""
