"""A pause: which jobs are not begun, since when, until when, by whom and why. Its JSON is what the scripts read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit import checks
from jobkit.errors import DeclarationError
from jobkit.timing import aware

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_TEXT: Final = 1000
"""Characters of a reason and of who pauses: every claim reads them."""
_PAIR: Final = 2


@attrs.frozen(kw_only=True)
class Pause:
    """A pause in force. It is about jobs that fit all of `queue`, `name` and `tag` that are not None.

    Attributes:
        id: names it to `resume`.
        queue: their queue.
        name: their name, as it was when they were enqueued.
        tag: one of their labels, key and value.
        reason: why; may be empty.
        by: who paused, user@host by default.
        since: when, by the server's clock.
        until: when it ends by itself; None where somebody has to resume.

    """

    id: str
    queue: str | None
    name: str | None
    tag: tuple[str, str] | None
    reason: str
    by: str
    since: datetime
    until: datetime | None


@attrs.frozen
class Selection:
    """Which jobs a pause is about."""

    queue: str | None
    name: str | None
    tag: tuple[str, str] | None

    @classmethod
    def of(cls, what: str, queue: str | None, name: str | None, tag: tuple[str, str] | None) -> Selection:
        """The selection, checked; raises DeclarationError, which begins with `what`."""
        if queue is None and name is None and tag is None:
            raise DeclarationError(f"{what}: expected at least one of queue=, name= and tag=, got none")
        return cls(
            None if queue is None else checks.name(queue, f"{what}(queue=)"),
            None if name is None else checks.name(name, f"{what}(name=)"),
            None if tag is None else _tag(tag, f"{what}(tag=)"),
        )

    def fits(self, pause: Pause) -> bool:
        """Whether the pause was made with just this selection."""
        return (pause.queue, pause.name, pause.tag) == (self.queue, self.name, self.tag)


def to_wire(selection: Selection, *, pause_id: str, reason: str, by: str, until: datetime | None) -> dict[str, Any]:
    """A new pause as the scripts read it; they note since when it is. Raises DeclarationError."""
    told: dict[str, Any] = {
        "id": pause_id,
        "r": _text(reason, "pause(reason=)"),
        "b": _text(by, "pause(by=)"),
    }
    given = {"q": selection.queue, "n": selection.name, "t": selection.tag}
    told |= {field: value for field, value in given.items() if value is not None}
    if until is not None:
        told["u"] = round(aware(until, "pause(until=)").timestamp() * 1000)
    return told


def from_wire(told: Mapping[str, Any]) -> Pause:
    """A pause as the scripts keep it."""
    tag, until = told.get("t"), told.get("u")
    return Pause(
        id=told["id"],
        queue=told.get("q"),
        name=told.get("n"),
        tag=None if tag is None else (tag[0], tag[1]),
        reason=told["r"],
        by=told["b"],
        since=_moment(told["s"]),
        until=None if until is None else _moment(until),
    )


def new_id() -> str:
    """Make an id that is short enough to be typed."""
    return os.urandom(4).hex()


def _tag(value: tuple[str, str], what: str) -> tuple[str, str]:
    given: object = value
    if (
        not isinstance(given, tuple | list)
        or len(given) != _PAIR
        or not all(isinstance(each, str) for each in given)
        or not given[0]
    ):
        raise DeclarationError(f"{what}: expected a pair of str, such as ('tenant', 't_9'), got {value!r:.200}")
    return _storable(given[0], what), _storable(given[1], what)


def _text(value: str, what: str) -> str:
    given: object = value
    if not isinstance(given, str) or len(given) > LONGEST_TEXT:
        raise DeclarationError(f"{what}: expected a str of at most {LONGEST_TEXT} characters, got {value!r:.200}")
    return _storable(str.__str__(given), what)


def _storable(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DeclarationError(f"{what}: expected text that UTF-8 can hold, got {text!r:.200}") from error
    return str.__str__(text)


def _moment(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
