"""The log of a worker process."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from jobkit.config import Settings
from jobkit.worker.logs import configure_logging


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Give the root logger, and put it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logging.getLogger("rq.worker").setLevel(logging.NOTSET)  # RQ's workers of other tests have set it
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_carry_the_job(root: logging.Logger) -> None:
    """Lines of the standard library, of structlog and of RQ carry what is bound, as JSON."""
    stream = io.StringIO()
    configure_logging(Settings(log_format="json", log_level="INFO"), stream)
    with structlog.contextvars.bound_contextvars(job_id="j1", queue="q", attempt=2, tags={"tenant": "t"}):
        logging.getLogger("rq.worker").info("from rq %s", "itself")
        structlog.get_logger("app").warning("from structlog", more=1)
        logging.getLogger("app").debug("not at this level")
        try:
            raise ValueError("oh")  # noqa: TRY301 - to be logged with its traceback
        except ValueError:
            logging.getLogger("app").exception("failed", extra={"cents": 5})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [each["event"] for each in lines] == ["from rq itself", "from structlog", "failed"]
    assert all((each["job_id"], each["queue"], each["attempt"]) == ("j1", "q", 2) for each in lines)
    assert all(each["tags"] == {"tenant": "t"} and each["timestamp"] for each in lines)
    assert [each["level"] for each in lines] == ["info", "warning", "error"]
    assert lines[1]["more"] == 1
    assert lines[2]["cents"] == 5
    assert "ValueError: oh" in lines[2]["exception"]


def test_console_lines_are_for_people(root: logging.Logger) -> None:
    """On a console a job's error keeps its lines."""
    stream = io.StringIO()
    configure_logging(Settings(log_format="console"), stream)
    logging.getLogger("jobkit.worker").warning("job failed", extra={"job_id": "j1", "error": "Traceback:\n  line\nOh"})
    text = stream.getvalue()
    assert "job failed" in text
    assert "\n  line\nOh" in text


def test_auto_is_json_without_a_terminal(root: logging.Logger) -> None:
    """A stream that is no terminal gets JSON."""
    stream = io.StringIO()
    configure_logging(Settings(log_format="auto"), stream)
    logging.getLogger("x").info("hello")
    assert json.loads(stream.getvalue())["event"] == "hello"


def test_rq_adds_no_handler(root: logging.Logger) -> None:
    """RQ's own set-up finds the root logger configured and leaves its lines to it."""
    from rq.logutils import setup_loghandlers

    stream = io.StringIO()
    configure_logging(Settings(log_format="json"), stream)
    setup_loghandlers("INFO", name="rq.worker")
    logging.getLogger("rq.worker").info("once")
    assert stream.getvalue().count("once") == 1
