"""The text of an error, for the job's result entry: the application's frames, the type and the message."""

from __future__ import annotations

import traceback
from pathlib import Path

LONGEST = 16_384
"""Characters kept of a text; the end of a traceback says most."""

_OWN = str(Path(__file__).resolve().parent.parent)


def error_text(error: BaseException) -> str:
    """The traceback without jobkit's own frames; of a chain, every link."""
    told = traceback.TracebackException.from_exception(error, compact=True)
    _strip(told)
    return clip("".join(told.format()).rstrip())


def clip(text: str) -> str:
    """The end of a text that is too long to keep."""
    return text if len(text) <= LONGEST else f"[... {len(text) - LONGEST} characters left out]\n{text[-LONGEST:]}"


def _strip(told: traceback.TracebackException) -> None:
    pending: list[traceback.TracebackException | None] = [told]
    while pending:
        link = pending.pop()
        if link is None:
            continue
        link.stack = traceback.StackSummary.from_list([f for f in link.stack if not f.filename.startswith(_OWN)])
        pending += [link.__cause__, link.__context__, *(getattr(link, "exceptions", None) or ())]
