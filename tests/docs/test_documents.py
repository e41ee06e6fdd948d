"""What the README and the documentation show is true: it runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import PAGES, ROOT, SYBIL, opened

RUNNABLE = [page for page in PAGES if list(SYBIL.parse(page))]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in, with a short name: a socket's path in it holds 104 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="jk-"))
    monkeypatch.chdir(path)
    for name in [name for name in os.environ if name.startswith("JOBKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(path)]))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_readme(folder: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README runs as a newcomer meets it: nothing configured, on the embedded server."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "share"))
    with opened(ROOT / "README.md", store_url) as page:
        for example in page:
            example.evaluate()


@pytest.mark.parametrize("page", [p for p in RUNNABLE if p.parent != ROOT], ids=lambda p: str(p.relative_to(ROOT)))
def test_page(page: Path, folder: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of a page of the documentation does what the page says, in the page's order."""
    monkeypatch.setenv("JOBKIT_REDIS_URL", store_url)
    with opened(page, store_url) as document:
        for example in document:
            example.evaluate()
