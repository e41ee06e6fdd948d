"""How an attempt ends (JobResult) and what it leaves behind (Draft: a payload with its options and an id)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, Literal, Never, TypeAlias, overload

import attrs
from pydantic_core import from_json, to_json
from typing_extensions import TypeVar

from jobkit import checks
from jobkit.dedupe import Dedupe
from jobkit.errors import CorruptJob, DeclarationError, UnknownJobName, WrongPayload, did_you_mean
from jobkit.limits import Priority, priority_of
from jobkit.payloads import Payload, R_co, check_payload, decode, encode, kind
from jobkit.timing import LONGEST, Seconds, aware, seconds

T = TypeVar("T")

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


def _delay(value: Seconds) -> float:
    return 0.0 if value == 0.0 and not isinstance(value, bool) else seconds(value, "delay=", most=LONGEST)


def _at(value: datetime | None) -> datetime | None:
    return None if value is None else aware(value, "at=")


def _tags(value: Mapping[str, str] | None) -> Mapping[str, str]:
    given: object = value
    if given is None or given is _NO_TAGS:
        return _NO_TAGS
    if not isinstance(given, Mapping):
        raise DeclarationError(f"tags=: expected a mapping such as {{'tenant': 't_1'}}, got {value!r}")
    for key, text in given.items():
        if not isinstance(key, str) or not isinstance(text, str) or not key:
            raise DeclarationError(f"tags=: expected names and values that are str, got {key!r}: {text!r}")
        try:
            f"{key}{text}".encode()
        except UnicodeEncodeError as error:
            raise DeclarationError(
                f"tags=: expected text that UTF-8 can hold, got half a surrogate pair in {key!r}: {text!r:.200}"
            ) from error
    return MappingProxyType({str.__str__(key): str.__str__(text) for key, text in given.items()})


@checks.spelt
@attrs.frozen(kw_only=True)
class EnqueueOptions:
    """When a job may start, the labels it carries, and what it is not to repeat.

    Args:
        delay: seconds (or timedelta) from the enqueue, by the server's clock; 0 for at once.
        at: a moment with a timezone; exclusive with `delay`. One in the past means at once.
        tags: labels such as {"tenant": "t_1"}, in the job's logs and status.
        priority: HIGH, NORMAL or LOW, in a queue that has priorities.
        dedupe: what becomes of the job where another of its key is there; None for nothing.

    """

    delay: float = attrs.field(default=0.0, converter=_delay)
    at: datetime | None = attrs.field(default=None, converter=_at)
    tags: Mapping[str, str] = attrs.field(default=_NO_TAGS, converter=_tags, hash=False)
    priority: Priority = attrs.field(default=Priority.NORMAL, converter=priority_of)
    dedupe: Dedupe | None = attrs.field(default=None, validator=attrs.validators.optional(checks.a(Dedupe)))

    def __attrs_post_init__(self) -> None:
        """Refuse two ways to say when, together."""
        if self.at is not None and self.delay:
            raise DeclarationError(f"expected delay= or at=, got both: delay={self.delay!r}, at={self.at!r}")
        if self.dedupe is not None and self.dedupe.mode == "debounce" and (self.delay or self.at is not None):
            told = f"delay={self.delay!r}" if self.delay else f"at={self.at!r}"
            raise DeclarationError(
                f"expected delay= or at=, or dedupe= with mode='debounce', got both: {told}, {self.dedupe!r}. A "
                "debounced job starts when nobody has enqueued it for `within` seconds"
            )


PLAIN = EnqueueOptions()
"""The options of a job that was enqueued without any."""


def _payload(_: object, __: attrs.Attribute[Any], value: object) -> None:
    check_payload(value, "Draft")


@attrs.frozen
class Draft(Generic[R_co]):
    """A payload with its options and an id, not yet sent: a follow-up, a line of a bulk, a row of an outbox.

    The id is made with the draft: sending one draft twice makes one job.
    """

    payload: Payload[R_co] = attrs.field(validator=_payload)
    options: EnqueueOptions = PLAIN
    id: str = attrs.field(factory=checks.new_job_id, converter=checks.job_id)

    def __attrs_post_init__(self) -> None:
        """Refuse a dedupe key over fields that the payload does not have."""
        if self.options is not PLAIN and self.options.dedupe is not None:
            cls: Any = type(self.payload)
            self.options.dedupe.check(cls.model_fields, cls.__qualname__)

    def to_json(self) -> str:
        """The draft as one line of JSON, for an outbox table.

        Raises:
            NotSerialisable: the payload does not come back from JSON; the message names the field.

        """
        known = kind(self.payload)
        at, dedupe = self.options.at, self.options.dedupe
        return to_json(
            {
                "id": self.id,
                "name": known.name,
                "version": known.version,
                "payload": from_json(encode(self.payload)),
                "delay": self.options.delay,
                "at": None if at is None else at.isoformat(),
                "tags": dict(self.options.tags),
                "priority": self.options.priority.value,
                "dedupe": None if dedupe is None else attrs.asdict(dedupe),
            },
        ).decode()

    @staticmethod
    def from_json(data: str | bytes, /, *of: type[Payload[T]]) -> Draft[T]:
        """The draft that `to_json` wrote.

        Args:
            data: the JSON.
            of: the payload classes that may be in it; the one with its name (or alias) is taken.

        Raises:
            UnknownJobName: none of the classes has the draft's name.
            CorruptJob, Parked: the data does not fit the class, or newer code wrote it.

        """
        try:
            row = from_json(data)
            name, version, payload = row["name"], row["version"], row["payload"]
            when = None if row["at"] is None else datetime.fromisoformat(row["at"])
            told = row.get("dedupe")  # rows of earlier releases have neither this nor a priority
            options = EnqueueOptions(
                delay=row["delay"],
                at=when,
                tags=row["tags"],
                priority=priority_of(row.get("priority", "normal")),
                dedupe=None if told is None else Dedupe(**told),
            )
            job_id = row["id"]
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptJob(f"expected the JSON of a draft, as Draft.to_json() writes it: {error!r}") from error
        for cls in of:
            known = kind(cls)
            if name == known.name or name in known.aliases:
                return Draft(decode(cls, payload, version), options, job_id)
        names = [kind(cls).name for cls in of]
        raise UnknownJobName(
            f"the draft holds {name!r}; none of the given classes has this name{did_you_mean(str(name), names)}",
        )


def draft(
    payload: Payload[T],
    /,
    *,
    delay: Seconds = 0.0,
    at: datetime | None = None,
    job_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    priority: Priority = Priority.NORMAL,
    dedupe: Dedupe | None = None,
) -> Draft[T]:
    """A payload with options, to be sent later: in `then=`, in `enqueue_many`, or from an outbox.

    Args:
        payload: what the job carries.
        delay: seconds (or timedelta) from the enqueue.
        at: a moment with a timezone, instead of `delay`.
        job_id: letters, digits, _ and -; made up when it is None. The same id makes one job.
        tags: labels for logs and status.
        priority: HIGH, NORMAL or LOW; its queue has to have priorities (`QueueSpec(ageing=)`).
        dedupe: what becomes of the job where another of its key is there.

    Raises:
        WrongPayload: it is no payload.
        DeclarationError: an option is wrong.

    """
    plain = not delay and at is None and not tags and delay is not False
    options = PLAIN
    if not plain or priority is not Priority.NORMAL or dedupe is not None:
        options = EnqueueOptions(delay=delay, at=at, tags=tags or _NO_TAGS, priority=priority, dedupe=dedupe)
    return Draft(payload, options, checks.new_job_id() if job_id is None else job_id)


FollowUp: TypeAlias = Payload[object] | Draft[object]


def as_draft(item: Payload[T] | Draft[T], what: str) -> Draft[T]:
    """The draft itself, or a new one for a payload.

    Raises:
        WrongPayload: it is neither.

    """
    given: object = item
    if isinstance(given, Draft):
        return given
    return Draft(check_payload(given, what))


def _follow_ups(then: Iterable[FollowUp]) -> tuple[FollowUp, ...]:
    given: object = then
    if isinstance(given, Payload | Draft | str | bytes | Mapping | type) or not isinstance(given, Iterable):
        hint = f"; did you mean then=[{type(given).__qualname__}(...)]?" if isinstance(given, Payload | Draft) else ""
        raise WrongPayload(f"then=: expected a list of payloads or drafts, got {given!r:.200}{hint}")
    items = tuple(then)
    for item in items:
        each: object = item
        if not isinstance(each, Draft):
            check_payload(each, "then=")
    return items


@attrs.frozen
class JobResult(Generic[R_co]):
    """How an attempt ended. Made by `completed`, `snoozed` and `cancelled` only.

    Attributes:
        outcome: "completed", "snoozed" or "cancelled".
        then: the follow-ups, which are stored together with the finish, or not at all.
        seconds: how long a snoozed job waits.
        reason: why it was snoozed or cancelled.

    """

    outcome: Literal["completed", "snoozed", "cancelled"]
    _value: Any = None
    then: Sequence[FollowUp] = ()
    seconds: float = 0.0
    reason: str = ""

    @property
    def value(self) -> R_co:
        """What a completed attempt gives back.

        Raises:
            DeclarationError: the attempt was snoozed or cancelled.

        """
        if self.outcome != "completed":
            raise DeclarationError(f"expected a completed result, got one that was {self.outcome}: {self.reason}")
        out: R_co = self._value
        return out

    @overload
    @staticmethod
    def completed(*, then: Sequence[FollowUp] = ()) -> JobResult[None]: ...
    @overload
    @staticmethod
    def completed(value: T, /, *, then: Sequence[FollowUp] = ()) -> JobResult[T]: ...
    @staticmethod
    def completed(value: Any = None, /, *, then: Sequence[FollowUp] = ()) -> JobResult[Any]:
        """The work is done; `value` is the job's result, `then` the jobs that follow it.

        Raises:
            WrongPayload: `then` holds something other than payloads and drafts.

        """
        return JobResult("completed", value, _follow_ups(then) if then != () else ())

    @staticmethod
    def snoozed(seconds: Seconds, reason: str) -> JobResult[Never]:
        """Try again in `seconds` (or timedelta); no attempt is used. The reason is kept on the job."""
        return JobResult("snoozed", seconds=_snooze(seconds), reason=_reason(reason, "snoozed"))

    @staticmethod
    def cancelled(reason: str) -> JobResult[Never]:
        """The work is no longer wanted: the job ends as cancelled, with the reason kept on it."""
        return JobResult("cancelled", reason=_reason(reason, "cancelled"))


def _snooze(value: Seconds) -> float:
    return seconds(value, "JobResult.snoozed(seconds)", most=LONGEST)


def _reason(value: str, what: str) -> str:
    given: object = value
    if not isinstance(given, str) or not given.strip():
        raise DeclarationError(f"JobResult.{what}(reason): expected a sentence that says why, got {value!r}")
    return given
