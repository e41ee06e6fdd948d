"""How an attempt ended: one value a kind. The finisher records them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from jobkit.store.records import NewJob


@attrs.frozen(slots=True)
class Completed:
    """The processor gave a result; `value` is its JSON."""

    value: bytes
    follow_ups: tuple[NewJob, ...] = ()


@attrs.frozen(slots=True)
class Failed:
    """It raised. `delay` is the wait before the next attempt in seconds; None: no attempts left, the dead letters.

    `asked`: it did not raise, a vanilla function returned an `rq.Retry`.
    """

    error: str
    delay: float | None
    raised: BaseException | None = attrs.field(default=None, eq=False)
    asked: bool = False


@attrs.frozen(slots=True)
class Snoozed:
    """It comes again in `delay` seconds, no attempt used.

    `parked`: because no processor here could take it. `limited`: the others under its limit wait as long.
    """

    delay: float
    reason: str
    parked: bool = False
    limited: bool = False


@attrs.frozen(slots=True)
class Ended:
    """It is over without a result: the processor cancelled it, or an operator stopped it."""

    state: Literal["canceled", "stopped"]
    reason: str


@attrs.frozen(slots=True)
class Dropped:
    """The claim was lost: the record has another owner, and nothing is written."""

    reason: str


Outcome = Completed | Failed | Snoozed | Ended | Dropped
