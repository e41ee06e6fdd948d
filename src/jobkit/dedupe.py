"""Dedupe: what becomes of a job where another of the same key is there, or was lately."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from jobkit import checks
from jobkit.errors import DeclarationError, did_you_mean
from jobkit.templates import check_template, fields_of, fill_template
from jobkit.timing import LONGEST, Seconds, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DedupeMode: TypeAlias = Literal["reject", "throttle", "debounce"]
"""What a second enqueue of a key does."""

_MODES: Final = ("reject", "throttle", "debounce")
_DIGEST: Final = 16
"""Bytes of a key's digest: with 2**40 keys in use, two meet once in 2**49 times."""


def _key(_: object, __: attrs.Attribute[Any], value: Any) -> None:
    fields_of(value, "Dedupe", "key")


def _mode(_: object, __: attrs.Attribute[Any], value: Any) -> None:
    if value not in _MODES:
        raise DeclarationError(
            f"Dedupe(mode=): expected 'reject', 'throttle' or 'debounce', got {value!r}"
            f"{did_you_mean(value, _MODES) if isinstance(value, str) else ''}",
        )


def _within(value: Seconds | None) -> float | None:
    return None if value is None else seconds(value, "Dedupe(within=)", above=0.0, most=LONGEST)


@checks.spelt
@attrs.frozen
class Dedupe:
    """Keeps jobs of one key from piling up; the server decides, in the step that would store the job.

    A key counts within its payload's queue. Where a job is bound to it, an enqueue answers with that job's handle:

    - "reject": while the bound job waits or runs, no other is stored. Once it has ended, or is gone, the next one is.
    - "throttle": at most one job is stored `within` so many seconds from the first, ended or not.
    - "debounce": the job waits until nobody has enqueued `within` so many seconds. Until it is due, a further enqueue
      gives it its own payload and tags, and it waits anew; later ones start another job.

    Args:
        key: a template over the payload's fields, such as "sync:{tenant_id}".
        mode: "reject", "throttle" or "debounce".
        within: seconds (or timedelta), by the server's clock, for "throttle" and "debounce".

    """

    key: str = attrs.field(validator=_key)
    mode: DedupeMode = attrs.field(default="reject", validator=_mode, kw_only=True)
    within: float | None = attrs.field(default=None, converter=_within, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse a mode without the time that it needs, or with one that it does not know."""
        if self.mode == "reject" and self.within is not None:
            raise DeclarationError(
                f"Dedupe(within=): expected none with mode='reject', which goes by the job's life, got {self.within!r};"
                " did you mean mode='throttle'?",
            )
        if self.mode != "reject" and self.within is None:
            raise DeclarationError(f"Dedupe: expected within= (seconds) with mode={self.mode!r}")

    def check(self, fields: Iterable[str], who: str) -> None:
        """Raise DeclarationError unless the key is a template over these fields of the payload class `who`."""
        check_template(self.key, fields, who, "dedupe key")

    def to_wire(self, values: Mapping[str, Any], who: str) -> dict[str, Any]:
        """What the server is told: the digest of the key, the mode, the time in ms.

        The key is digested (BLAKE2b), because it is part of a name on the server: what a payload holds may be of any
        length, and have any characters.

        Args:
            values: the payload's fields, as its JSON has them.
            who: the payload's class, for the message.

        Raises:
            NotSerialisable: a field of the key is a list or an object.

        """
        key = fill_template(self.key, values, who, "dedupe key")
        wire: dict[str, Any] = {"k": hashlib.blake2b(key.encode(), digest_size=_DIGEST).hexdigest(), "m": self.mode}
        if self.within is not None:
            wire["w"] = max(1, round(self.within * 1000))
        return wire
