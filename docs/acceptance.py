"""Print docs/acceptance.md: each row of what the library must carry that is shown, with the tests that show it.

A test shows a row by opening its docstring with the row's id. Run from the root of the tree:
`python docs/acceptance.py > docs/acceptance.md`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"(TT|BO|AG|FL)-(\d+): (.+)", re.DOTALL)
APPS = {"TT": "Time tracker", "BO": "Back office", "AG": "Agent platform", "FL": "Flyers"}


def shown() -> Iterator[tuple[str, int, str, str]]:
    """Give (app, row, promise, test) of every test that shows a row."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                row = ROW.fullmatch(ast.get_docstring(node) or "")
                if row:
                    promise = " ".join(row[3].split())
                    yield row[1], int(row[2]), promise, f"{path.relative_to(ROOT).as_posix()}::{node.name}"


def page() -> str:
    """Give the page."""
    lines = [
        "# Acceptance",
        "",
        "What the host apps under `examples/` need of the library, and the test that shows it. Made by",
        "`docs/acceptance.py` from the tests whose docstring begins with a row's id.",
    ]
    rows = sorted(shown(), key=lambda row: (list(APPS).index(row[0]), *row[1:]))
    for app, title in APPS.items():
        mine = [row for row in rows if row[0] == app]
        if mine:
            lines += ["", f"## {title}", "", "| row | what is shown | test |", "|---|---|---|"]
            lines += [
                f"| {app}-{number} | {promise.replace('|', '&#124;')} | `{test}` |" for _, number, promise, test in mine
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
