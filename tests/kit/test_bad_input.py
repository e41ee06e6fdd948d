import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobkit import (
    ConfigurationError,
    DeclarationError,
    Job,
    JobKit,
    JobkitError,
    NotSerialisable,
    Payload,
    PayloadTooLarge,
    Priority,
    QueueSpec,
    Settings,
    UnknownJobName,
    UnknownQueue,
    WrongPayload,
    processor,
)
from jobkit.store import Store
from tests.kit.app import QUEUES, Add, Note, Stage, make_kit


class Stray(Payload, name="stray.go", queue="note"):
    pass


class Base(Payload, abstract=True):
    text: str = ""


NAIVE = datetime(2030, 1, 31, 8)  # noqa: DTZ001 - that is the mistake
LATER = datetime(2030, 1, 31, 8, tzinfo=UTC)

MISTAKES: dict[str, tuple[Callable[[JobKit], Any], type[JobkitError], str]] = {
    "unknown queue": (
        lambda kit: kit.enqueue(Stray()),
        UnknownQueue,
        "unknown queue 'note'; did you mean 'notes'? Declared: 'sums', 'notes'; a new one is a QueueSpec in JobKit(",
    ),
    "a priority where there are none": (
        lambda kit: kit.enqueue(Note(), priority=Priority.HIGH),
        DeclarationError,
        "notes.keep: expected no priority, since the queue 'notes' has none, got Priority.HIGH; add QueueSpec('notes',",
    ),
    "no priority at all": (
        lambda kit: kit.enqueue(Note(), priority="hihg"),  # type: ignore[arg-type]
        DeclarationError,
        "priority=: expected a Priority (high, normal, low), got 'hihg'; did you mean 'high'?",
    ),
    "unknown queue of a worker": (lambda kit: kit.worker("summs"), UnknownQueue, "'summs'; did you mean 'sums'?"),
    "unknown queue of a list": (lambda kit: kit.jobs.ls(queue="summs"), UnknownQueue, "'summs'; did you mean 'sums'?"),
    "unknown job name": (
        lambda kit: kit.registry.find("sums.ad"),
        UnknownJobName,
        "no processor for jobs named 'sums.ad'; did you mean 'sums.add'?",
    ),
    "wrong payload type": (
        lambda kit: kit.enqueue({"text": "hello"}),  # type: ignore[call-overload]
        WrongPayload,
        "enqueue: expected a payload (a subclass of jobkit.Payload), got {'text': 'hello'}",
    ),
    "the class": (
        lambda kit: kit.enqueue(Note),  # type: ignore[arg-type]
        WrongPayload,
        "enqueue: expected a payload, got the class Note; did you mean Note(...)?",
    ),
    "the class, with options": (
        lambda kit: kit.enqueue(Note, delay=3),  # type: ignore[arg-type]
        WrongPayload,
        "expected a payload, got the class Note; did you mean Note(...)?",
    ),
    "an abstract payload": (lambda kit: kit.enqueue(Base()), DeclarationError, "an abstract base cannot be a job"),
    "one payload as a bulk": (
        lambda kit: kit.enqueue_many(Note()),  # type: ignore[arg-type]
        WrongPayload,
        "enqueue_many: expected a list of payloads or drafts, got Note(text='hello'); did you mean enqueue(...)?",
    ),
    "too large": (
        lambda kit: kit.enqueue(Note(text="x" * 2_000_000)),
        PayloadTooLarge,
        "notes.keep: expected a payload of at most 1,048,576 bytes of JSON, got 2,000,011. Store the bulk elsewhere",
    ),
    "naive datetime": (
        lambda kit: kit.enqueue(Note(), at=NAIVE),
        DeclarationError,
        "at=: expected a datetime with a timezone, got the naive datetime.datetime(2030, 1, 31, 8, 0); use",
    ),
    "a date as text": (
        lambda kit: kit.enqueue(Note(), at="2030-01-31"),  # type: ignore[arg-type]
        DeclarationError,
        "at=: expected a datetime with a timezone, got '2030-01-31'",
    ),
    "negative delay": (
        lambda kit: kit.enqueue(Note(), delay=-1),
        DeclarationError,
        "delay=: expected 0 seconds or more, got -1",
    ),
    "negative timedelta": (
        lambda kit: kit.enqueue(Note(), delay=timedelta(days=-1)),
        DeclarationError,
        "delay=: expected 0 seconds or more, got datetime.timedelta(days=-1)",
    ),
    "infinite delay": (
        lambda kit: kit.enqueue(Note(), delay=float("inf")),
        DeclarationError,
        "delay=: expected a finite number of seconds, got inf",
    ),
    "delay that is a bool": (
        lambda kit: kit.enqueue(Note(), delay=False),
        DeclarationError,
        "delay=: expected seconds (int or float) or a timedelta, got False",
    ),
    "delay and at": (
        lambda kit: kit.enqueue(Note(), delay=5, at=LATER),
        DeclarationError,
        "expected delay= or at=, got both: delay=5.0, at=",
    ),
    "job id with a space": (
        lambda kit: kit.enqueue(Note(), job_id="not this"),
        DeclarationError,
        "job_id: expected 1 to 200 letters, digits, _ and -, got 'not this'",
    ),
    "job id with a colon": (lambda kit: kit.enqueue(Note(), job_id="a:b"), DeclarationError, "got 'a:b'"),
    "empty job id": (lambda kit: kit.enqueue(Note(), job_id=""), DeclarationError, "got ''"),
    "job id of a handle": (
        lambda kit: kit.handle(7),  # type: ignore[call-overload]
        DeclarationError,
        "handle(job_id): expected a job's id (str), got 7",
    ),
    "an instance for a handle": (
        lambda kit: kit.handle("a", Note()),  # type: ignore[call-overload]
        DeclarationError,
        "handle(of): expected a payload class, got Note(text='hello')",
    ),
    "tags that are a list": (
        lambda kit: kit.enqueue(Note(), tags=["tenant"]),  # type: ignore[arg-type]
        DeclarationError,
        "tags=: expected a mapping such as {'tenant': 't_1'}, got ['tenant']",
    ),
    "a tag that is a number": (
        lambda kit: kit.enqueue(Note(), tags={"tenant": 7}),  # type: ignore[dict-item]
        DeclarationError,
        "tags=: expected names and values that are str, got 'tenant': 7",
    ),
    "unknown state": (
        lambda kit: kit.jobs.ls(state="finishd"),
        DeclarationError,
        "finished, failed, canceled, got 'finishd'; did you mean 'finished'?",
    ),
    "no limit": (
        lambda kit: kit.jobs.ls(limit=0),
        DeclarationError,
        "jobs.ls(limit=): expected a whole number of 1 or more, got 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_told(kit: JobKit, mistake: tuple[Callable[[JobKit], Any], type[JobkitError], str]) -> None:
    """Each mistake raises its error, which says what came and what to do, and nothing is stored."""
    make, error, told = mistake
    with pytest.raises(error) as caught:
        make(kit)
    assert told in str(caught.value)
    assert sum(each.queued + each.scheduled for each in kit.jobs.counts()) == 0


def test_async_calls_check_alike(kit: JobKit) -> None:
    """The async twins refuse what the plain calls refuse."""

    async def main() -> None:
        with pytest.raises(UnknownQueue, match="did you mean 'notes'"):
            await kit.aenqueue(Stray())
        with pytest.raises(DeclarationError, match="got the naive"):
            await kit.aenqueue(Note(), at=NAIVE)
        with pytest.raises(WrongPayload, match="got the class Note"):
            await kit.aenqueue_many([Note])  # type: ignore[list-item]
        with pytest.raises(WrongPayload, match="expected a list of payloads or drafts"):
            await kit.aenqueue_many(Note())  # type: ignore[arg-type]

    asyncio.run(main())


def test_extra_field_is_refused_where_it_is_written() -> None:
    """A field that the payload does not have is refused when the payload is made."""
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Note(text="hello", txet="hello")  # type: ignore[call-arg]


def test_mutated_payload_does_not_pass(kit: JobKit) -> None:
    """A payload that was changed behind pydantic's back is checked at the enqueue."""
    with pytest.raises(NotSerialisable, match=r"Note.text"):
        kit.enqueue(Note().model_copy(update={"text": 7}))


def test_smaller_limit_holds(store_url: str) -> None:
    """The limit is of the encoded payload, in bytes, and the settings set it."""
    with make_kit(store_url, max_payload=30) as kit:
        kit.enqueue(Note(text="x" * 19))
        with pytest.raises(PayloadTooLarge, match="at most 30 bytes of JSON, got 31"):
            kit.enqueue(Note(text="x" * 20))
        with pytest.raises(PayloadTooLarge, match="at most 30 bytes of JSON, got 41"):
            kit.enqueue(Note(text="é" * 15))


def test_tags_have_the_payloads_limit(kit: JobKit) -> None:
    """Tags are stored with each job, so they are held to the limit that its payload is held to."""
    with pytest.raises(PayloadTooLarge, match=r"notes\.keep: expected tags of at most 1,048,576 bytes of JSON, got "):
        kit.enqueue(Note(text="x"), tags={"label": "x" * 1_048_576})


def test_decoding_client_is_refused(store_url: str) -> None:
    """A client that decodes its answers cannot carry results; it is refused with the remedy."""
    with redis.Redis.from_url(store_url, decode_responses=True) as client, pytest.raises(ConfigurationError) as caught:
        Store(client)
    assert "expected a redis client that answers bytes, got one with decode_responses=True" in str(caught.value)
    assert "make it without that option, or give a URL" in str(caught.value)


def test_decoding_url_is_refused(store_url: str) -> None:
    """A URL that asks for decoded answers is refused alike, when the settings are read."""
    with pytest.raises(ConfigurationError, match="payloads and results are read as bytes"):
        make_kit(f"{store_url}?decode_responses=True")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://eu1-fine.upstash.io", "got an https:// URL; that is the REST address of a hosted Redis"),
        ("localhost:6379", "rediss+sentinel://, embedded://, got 'localhost'"),
        ("redsi://localhost", "got 'redsi'; did you mean 'redis'?"),
    ],
)
def test_wrong_url_is_told(url: str, told: str) -> None:
    """A URL that leads to no Redis is refused when the settings are read, with the reason."""
    with pytest.raises(ConfigurationError) as caught:
        make_kit(url)
    assert told in str(caught.value)


@pytest.mark.parametrize("url", ["redis://user:pa55@localhost:notaport/0", "redis://:pa55@localhost:6379/0?db=x"])
def test_url_that_redis_refuses_keeps_its_password(url: str) -> None:
    """A URL that does not parse is refused when the settings are read; the error does not show the password."""
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        make_kit(url)
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "4"])
def test_concurrency_is_a_number_from_1(concurrency: Any) -> None:
    """A queue with no slots would hold its jobs for ever: it is refused."""
    with pytest.raises(DeclarationError) as caught:
        QueueSpec("sums", concurrency=concurrency)
    assert str(caught.value) == f"QueueSpec(concurrency=): expected a whole number of 1 or more, got {concurrency!r}"


def test_concurrency_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A concurrency of 0 from the environment is refused, and the variable is named."""
    monkeypatch.setenv("JOBKIT_QUEUES__SUMS__CONCURRENCY", "0")
    with pytest.raises(
        ConfigurationError, match=r"JOBKIT_QUEUES__SUMS__CONCURRENCY.*greater than or equal to 1, got '0'"
    ):
        Settings()


def test_two_processors_for_one_name(store_url: str) -> None:
    """Two processors for one name refuse to start, and both are named."""

    @processor(Add)
    def other_add(job: Job[Add]) -> Any:
        return None

    kit = JobKit(Settings(redis_url=store_url), queues=QUEUES, processors=[*Stage().processors(), other_add])
    with pytest.raises(DeclarationError) as caught:
        kit.worker()
    told = str(caught.value)
    assert "two processors for 'sums.add'" in told
    assert "other_add" in told
    assert "take one away, or rename a payload" in told
    kit.enqueue(Add(numbers=[1]))  # a client needs no processors
    kit.close()


def test_processors_that_do_not_import(store_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of processors that fails to import is named with its error, and clients go on without it."""
    (tmp_path / "acme_broken.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with JobKit(Settings(redis_url=store_url), queues=QUEUES, processors="acme_broken") as kit:
        with pytest.raises(DeclarationError) as caught:
            kit.worker()
        told = str(caught.value)
        assert "module 'acme_broken' does not import: ModuleNotFoundError: No module named 'no_such_library'" in told
        assert kit.enqueue(Note()).status().state == "queued"
