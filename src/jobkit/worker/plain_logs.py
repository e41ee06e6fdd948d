"""The supervisor's log, in the form of its workers' (`jobkit.worker.logs`), from the standard library alone."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import TextIO

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
"""What every record carries; the rest is what the caller said with `extra`."""


class PlainFormatter(logging.Formatter):
    """One line a record: JSON, or words for people."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {key: value for key, value in vars(record).items() if key not in _OWN}
        when = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        level = record.levelname.lower()
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_json:
            said: dict[str, Any] = {"event": record.getMessage(), "level": level, "logger": record.name, **fields}
            if trace:
                said["exception"] = trace
            return json.dumps(said | {"timestamp": when}, default=str)
        words = " ".join(f"{key}={value!r}" for key, value in sorted(fields.items()))
        line = f"{when} [{level:<9}] {record.getMessage():<30} [{record.name}] {words}".rstrip()
        return f"{line}\n{trace}" if trace else line


def configure_plain_logging(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Log to `stream` (stderr) from the root logger.

    Values that mean nothing are taken as auto and INFO: the workers refuse them, with the reason.
    """
    out = stream or sys.stderr
    as_json = log_format == "json" or (log_format != "console" and not out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(PlainFormatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(getattr(logging, log_level.upper(), logging.INFO))
