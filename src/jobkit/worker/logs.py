"""Logs of a worker process: structlog formats every line, RQ's and the application's included.

Called by the command line's worker only: a host application keeps its own logging, and may add
`structlog.contextvars.merge_contextvars` to it, which gives each line of an attempt its job id, name, queue, attempt
and tags.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import Processor

    from jobkit.config import Settings


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Log to `stream` (stderr) from the root logger, as JSON or for people.

    The log_format "auto" asks whether the stream is a terminal.

    Handlers that the root logger had are replaced. The root logger is configured before RQ is used, so RQ adds no
    handler of its own.
    """
    out = stream or sys.stderr
    fmt = settings.log_format
    as_json = fmt == "json" or (fmt == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        if as_json
        else [_error_below, structlog.dev.ConsoleRenderer(colors=out.isatty())]
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *[each for each in shared if not isinstance(each, structlog.stdlib.ExtraAdder)],
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _error_below(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A job's traceback on lines of its own: a person reads it there, not as one long quoted word."""
    text = event.get("error")
    if isinstance(text, str) and "\n" in text and "exception" not in event and not event.get("exc_info"):
        event["exception"] = event.pop("error")
    return event
