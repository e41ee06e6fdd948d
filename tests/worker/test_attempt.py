"""One attempt, without Redis: every way it may end, as a value."""

import contextvars
import json
import pkgutil
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from pydantic import BaseModel
from structlog.contextvars import get_contextvars

from jobkit import di
from jobkit.envelopes import Envelopes
from jobkit.errors import LostClaim, Unrecoverable
from jobkit.jobs import Job
from jobkit.payloads import Payload, encode
from jobkit.policies import Exponential, Retry
from jobkit.ports import MemoryPort
from jobkit.processing import Processor, processor
from jobkit.processors import load_processors
from jobkit.queues import QueueSet, QueueSpec
from jobkit.results import JobResult
from jobkit.store.codec import VanillaCall, pack_data, pack_extra, unpack_data
from jobkit.store.records import Claimed
from jobkit.store.terms import Terms
from jobkit.worker.attempt import Attempt, Pipeline
from jobkit.worker.fence import ThreadFence
from jobkit.worker.outcomes import Completed, Dropped, Ended, Failed, Outcome, Snoozed
from jobkit.worker.routes import Routes
from jobkit.worker.vanilla import Vanilla


class Total(BaseModel):
    cents: int


class Pay(Payload[Total], name="pay", queue="q", version=2, aliases=("pay.old",)):
    cents: int


class Ping(Payload, name="ping", queue="q"):
    pass


QUEUES = QueueSet([QueueSpec("q", retry=Retry(attempts=9, backoff=lambda failed: failed * 100.0))])
CLAIM = Claimed(
    queue="q",
    id="j1",
    token="t-1",  # noqa: S106 - a claim's, no secret
    data=pack_data("pay", 2, encode(Pay(cents=5))),
    extra=pack_extra(3, Retry(backoff=Exponential(2)).to_wire()[1], {"tenant": "t_1"}),
    timeout=60.0,
    failed=0,
    epoch=1,
    rescues=0,
    parked_ms=0,
)


class CallsThere:
    """RQ's view of a job, without RQ."""

    def __init__(self, claimed: Claimed) -> None:
        called = unpack_data(claimed.data)
        assert isinstance(called, VanillaCall)
        self._call = called

    def perform(self) -> object:
        return pkgutil.resolve_name(self._call.function)(*self._call.args, **self._call.kwargs)

    def call_back(self, fn: Callable[..., Any], *what: Any) -> None:
        fn("job", "connection", *what)


class Jobs:
    def fetch(self, claimed: Claimed) -> CallsThere:
        return CallsThere(claimed)

    def close(self) -> None:
        pass


def pipeline(
    *processors: Processor[Any, ..., Any], container: Any = None, functions: tuple[str, ...] = (), **options: Any
) -> Pipeline:
    """Make a pipeline over these processors."""
    made = Pipeline(
        queues=QUEUES,
        make_port=lambda _: MemoryPort(),
        new_job=Envelopes(QUEUES, 1000).new_job,
        vanilla=Vanilla(Jobs(), functions),
        chance=lambda: 0.5,
        **options,
    )
    made.routes = Routes(load_processors(list(processors), entry_points=False), container)
    return made


def attempted(lines: Pipeline, claimed: Claimed = CLAIM) -> tuple[Attempt, Outcome]:
    """Run one attempt in this thread."""
    attempt = lines.read(claimed)
    if attempt.outcome is not None:
        return attempt, attempt.outcome
    attempt.fence = ThreadFence()
    return attempt, lines.run(attempt)


def outcome_of(fn: Any, claimed: Claimed = CLAIM) -> Outcome:
    """Give the outcome of one attempt of a function."""
    fn.__annotations__ = {}
    return attempted(pipeline(processor(Pay)(fn)), claimed)[1]


def changed(**fields: Any) -> Claimed:
    """Give the claim with other fields."""
    return attrs.evolve(CLAIM, **fields)


def test_a_value_completes() -> None:
    """A returned value is validated and written as JSON."""
    assert outcome_of(lambda job: Total(cents=job.payload.cents)) == Completed(b'{"cents":5}')
    assert outcome_of(lambda job: {"cents": 7}) == Completed(b'{"cents":7}')


def test_what_the_job_knows() -> None:
    """The job carries its id, queue, attempt, attempts, epoch and tags."""
    seen: list[Job[Pay]] = []

    def fn(job: Any) -> Total:
        seen.append(job)
        return Total(cents=1)

    outcome_of(fn, changed(failed=1, epoch=4))
    job = seen[0]
    assert (job.id, job.queue, job.attempt, job.attempts, job.epoch) == ("j1", "q", 2, 3, 4)
    assert job.tags == {"tenant": "t_1"}


@pytest.mark.parametrize(("failed", "delay"), [(0, 2.0), (1, 4.0), (2, None)])
def test_an_error_waits_by_the_jobs_own_policy(failed: int, delay: float | None) -> None:
    """The policy that was copied on the job decides the wait; the last failure is for good."""

    def fn(job: Any) -> Total:
        raise ValueError("no")

    outcome = outcome_of(fn, changed(failed=failed))
    assert isinstance(outcome, Failed)
    assert outcome.delay == delay
    assert isinstance(outcome.raised, ValueError)
    assert outcome.error.endswith("ValueError: no")
    assert __file__ in outcome.error
    assert "jobkit/worker" not in outcome.error


def test_a_callable_backoff_is_the_queues() -> None:
    """A policy whose backoff lies in code is the queue's, of this process."""

    def fn(job: Any) -> Total:
        raise ValueError

    outcome = outcome_of(fn, changed(extra=pack_extra(5, ["code"]), failed=2))
    assert isinstance(outcome, Failed)
    assert outcome.delay == 300.0


@pytest.mark.parametrize("backoff", [["code"], ["nonsense"]])
def test_a_broken_backoff_does_not_lose_the_retry(backoff: list[str]) -> None:
    """A backoff that raises or cannot be read waits a default time and is logged."""

    def broken(failed: int) -> float:
        raise ZeroDivisionError

    def fn(job: Any) -> Total:
        raise ValueError

    fn.__annotations__ = {}
    lines = pipeline(processor(Pay)(fn))
    lines.queues = QueueSet([QueueSpec("q", retry=Retry(backoff=broken))])
    outcome = attempted(lines, changed(extra=pack_extra(5, backoff), failed=2))[1]
    assert isinstance(outcome, Failed)
    assert outcome.delay == 8.0


def test_snoozed_and_cancelled() -> None:
    """The processor may put the job off, or end it."""
    assert outcome_of(lambda job: JobResult.snoozed(9, "busy")) == Snoozed(9.0, "busy")
    assert outcome_of(lambda job: JobResult.cancelled("old")) == Ended("canceled", "old")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("text", "expected Total"),
        (None, "was a return forgotten"),
        (JobResult.completed(Total(cents=1), then=[Ping(), Pay(cents=10**2000)]), "follow-up"),
    ],
)
def test_a_wrong_result_is_for_good(returned: object, message: str) -> None:
    """A result that is not promised, or a follow-up that cannot be enqueued, is never retried."""
    outcome = outcome_of(lambda job: returned)
    assert isinstance(outcome, Failed)
    assert outcome.delay is None
    assert message in outcome.error
    assert isinstance(outcome.raised, Unrecoverable)


def test_follow_ups_ride_on_the_finish() -> None:
    """The follow-ups of a result are part of the outcome, as records."""
    outcome = outcome_of(lambda job: JobResult.completed(Total(cents=1), then=[Ping()]))
    assert isinstance(outcome, Completed)
    assert [each.queue for each in outcome.follow_ups] == ["q"]


def test_a_lost_claim_drops_the_attempt() -> None:
    """LostClaim passes `except Exception` and ends the attempt without a record."""

    def fn(job: Any) -> Total:
        try:
            raise LostClaim("gone")  # noqa: TRY301 - a call in a processor would raise it here
        except Exception:  # noqa: BLE001 - what processors do
            return Total(cents=1)

    assert outcome_of(fn) == Dropped("gone")


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [
        (changed(data=pack_data("pay", 3, b'{"cents":5}')), "written by version 3"),
        (changed(data=pack_data("nobody", 1, b"{}")), "no processor for jobs named 'nobody'"),
        (changed(data=pack_data("pay", 2, b'{"cents":5,"more":1}')), "field more is unknown"),
    ],
)
def test_a_job_of_newer_code_is_parked(claimed: Claimed, reason: str) -> None:
    """An unknown name, a newer version and an unknown field park the job: no attempt, a short first wait."""
    outcome = outcome_of(lambda job: Total(cents=1), claimed)
    assert isinstance(outcome, Snoozed)
    assert outcome.parked
    assert outcome.delay == 5.0
    assert reason in outcome.reason


@pytest.mark.parametrize(("parked_for", "delay"), [(5, 10), (35, 40), (4000, 300), (86_500, None)])
def test_parking_backs_off_and_ends(parked_for: float, delay: float | None) -> None:
    """The waits of a parked job double up to five minutes; after a day it is a dead letter."""
    since = round((time.time() - parked_for) * 1000)
    outcome = outcome_of(lambda job: None, changed(data=pack_data("nobody", 1, b"{}"), parked_ms=since))
    if delay is None:
        assert isinstance(outcome, Failed)
        assert outcome.delay is None
        assert "for 24 hours" in outcome.error
    else:
        assert isinstance(outcome, Snoozed)
        assert outcome.delay == pytest.approx(delay, abs=1)


def test_an_alias_and_an_older_version_still_run() -> None:
    """A job that was enqueued under an alias by an older version runs."""
    claimed = changed(data=pack_data("pay.old", 1, b'{"cents":8}'))
    assert outcome_of(lambda job: Total(cents=job.payload.cents), claimed) == Completed(b'{"cents":8}')


@pytest.mark.parametrize(
    ("claimed", "message"),
    [
        (changed(data=b"\x80\x04junk"), "never unpickles"),
        (changed(data=b"\xffjunk"), "not RQ's JSON call"),
        (changed(extra=b"junk"), "field jk"),
        (changed(data=pack_data("pay", 2, b'{"cents":"many"}')), "does not fit"),
    ],
)
def test_a_corrupt_job_is_a_dead_letter(claimed: Claimed, message: str) -> None:
    """What cannot be read goes to the dead letters at once, with its bytes."""
    outcome = outcome_of(lambda job: Total(cents=1), claimed)
    assert isinstance(outcome, Failed)
    assert outcome.delay is None
    assert message in outcome.error
    assert "The job's data: b'" in outcome.error


def test_each_attempt_has_an_empty_context() -> None:
    """Context variables of the worker are not seen, and those of an attempt do not stay; its log context is bound."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[tuple[str, dict[str, Any]]] = []

    def fn(job: Any) -> Total:
        seen.append((variable.get(), dict(get_contextvars())))
        variable.set("attempt's")
        return Total(cents=1)

    variable.set("worker's")
    outcome_of(fn)
    outcome_of(fn)
    assert [each[0] for each in seen] == ["unset", "unset"]
    assert seen[0][1] == {
        "job_id": "j1",
        "job_name": "pay",
        "queue": "q",
        "attempt": 1,
        "tags": {"tenant": "t_1"},
    }
    assert variable.get() == "worker's"


def test_vanilla_calls_need_leave() -> None:
    """A plain function runs where a pattern allows it; else the dead letter says how to allow it."""
    data = json.dumps(["posixpath.join", None, ["a"], {}]).encode()
    claimed = changed(data=data, extra=b"", terms=Terms())
    assert attempted(pipeline(functions=("posixpath.*",)), claimed)[1] == Completed(b'"a"')
    refused = attempted(pipeline(functions=("os.*",)), claimed)[1]
    assert isinstance(refused, Failed)
    assert refused.delay is None
    assert "JOBKIT_RQ_FUNCTIONS" in refused.error


@pytest.mark.parametrize(
    ("function", "args", "delay", "message"),
    [
        ("operator.truediv", [1, 0], 100.0, "ZeroDivisionError"),
        ("builtins.object", [], None, "cannot be written as JSON"),
        ("nowhere.at.all", [], None, "no such function"),
        ("json.nothing", [], None, "no such function"),
        ("asyncio.sleep", [0], None, "is async"),
    ],
)
def test_vanilla_calls_end_as_others(function: str, args: list[int], delay: float | None, message: str) -> None:
    """A plain function that raises is retried as RQ's retries say; one that cannot be run or read is for good."""
    claimed = changed(
        data=json.dumps([function, None, args, {}]).encode(),
        extra=b"",
        terms=Terms(retries_left=1, retry_intervals=[100]),
    )
    outcome = attempted(pipeline(functions=("*",)), claimed)[1]
    assert isinstance(outcome, Failed)
    assert outcome.delay == delay
    assert message in outcome.error


@pytest.mark.parametrize(("given", "timeout"), [(None, 180.0), (-1.0, None), (0.0, None), (2.5, 2.5)])
def test_the_timeout_is_the_jobs_or_the_queues(given: float | None, timeout: float | None) -> None:
    """A job without a timeout has its queue's; RQ's -1 means none."""
    assert pipeline().read(changed(timeout=given)).timeout == timeout


def test_a_scope_closes_with_its_attempt() -> None:
    """What a processor opens through its scope sees the attempt's error."""
    seen: list[str] = []

    class Guard:
        def __enter__(self) -> None:
            seen.append("open")

        def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
            seen.append(kind.__name__ if kind else "fine")

    scoped = di.Scoped(Guard)

    def fn(job: Any) -> Total:
        scoped()
        raise ValueError

    outcome_of(fn)
    assert seen == ["open", "ValueError"]


def test_an_attempt_is_decided_once() -> None:
    """Of all who want to say how an attempt ended, one wins."""
    attempt = Attempt(CLAIM)
    wins = []
    start = threading.Barrier(8)

    def race(n: int) -> None:
        start.wait()
        if attempt.decide(Dropped(str(n))):
            wins.append(n)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(wins) == 1
    assert attempt.outcome == Dropped(str(wins[0]))
