"""`jobkit demo`, shortened."""

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from time_tracker.demo import run_demo

SCRIPT = """
import sys
from rich.console import Console
from time_tracker.demo import run_demo

sys.exit(run_demo(Console()))
"""


def test_the_demo_shows_what_was_read_and_what_it_cost(store_url: str) -> None:
    """The demo names the server, tells what happens line by line in a pipe, and ends with a table that is right."""
    said = io.StringIO()
    assert run_demo(Console(file=said, width=100), invoices=4, redis_url=store_url) == 0
    text = said.getvalue()
    assert "\x1b" not in text
    assert f"rq info --url '{store_url}" in text
    assert "INV-2026-0417" in text
    assert len(re.findall(r"processed: \S+, 2026-\S+, [\d.]+ \(attempt \d of 4\)", text)) == 3
    assert "4 of 4 invoices ended as they should" in text


def test_without_tesseract_the_demo_goes_on_with_pdfs(
    store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where Tesseract is missing the demo says how to install it, and runs the same flow on PDFs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    said = io.StringIO()
    assert run_demo(Console(file=said, width=100), invoices=2, redis_url=store_url) == 0
    assert "apt-get install tesseract-ocr" in said.getvalue()
    assert "scan" not in said.getvalue().partition("as it was read")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_demo_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM stop the workers, remove the demo's folder, and exit with 130 and no traceback."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal of its own
    ) as demo:
        assert demo.stdout
        assert any("attempt 1" in line for line in demo.stdout), "the demo did not begin to work"
        os.killpg(demo.pid, number)
        out, err = demo.communicate(timeout=60)
    assert (demo.returncode, err) == (130, "")
    assert "the workers have ended" in out
    assert list(tmp_path.iterdir()) == []
