import asyncio
import functools
from datetime import UTC, datetime
from typing import Any, Never

import pytest
from pydantic import BaseModel

from jobkit.errors import DeclarationError, LostClaim, NotSerialisable, UnkeptStep, Unrecoverable, WrongPayload
from jobkit.jobs import Job, in_thread
from jobkit.limits import RateLimit
from jobkit.payloads import Payload
from jobkit.ports import MemoryPort, Progress
from jobkit.results import draft


class Read(Payload, name="read", queue="q"):
    number: int = 1


class Invoice(BaseModel):
    number: str
    at: datetime | None = None


class Counter:
    """A function that counts its calls, with and without annotations."""

    def __init__(self) -> None:
        self.calls = 0

    def invoice(self, number: str) -> Invoice:
        self.calls += 1
        return Invoice(number=number)

    def invoices(self) -> list[Invoice]:
        self.calls += 1
        return [Invoice(number="1", at=datetime(2026, 1, 1, tzinfo=UTC))]

    def late(self) -> "Invoice":
        self.calls += 1
        return Invoice(number="late")

    def plain(self) -> Any:
        self.calls += 1
        return {"a": [1, 2.5, None, "x"]}

    def nothing(self) -> None:
        self.calls += 1

    async def later(self, number: str) -> Invoice:
        self.calls += 1
        return Invoice(number=number)

    def __call__(self) -> tuple[int, int]:
        self.calls += 1
        return (1, 2)


def attempts(*, port: Any = None) -> tuple[Job[Read], Job[Read]]:
    """Two attempts of one job: they share what is kept."""
    port = port or MemoryPort()
    return Job(payload=Read(), attempt=1, port=port), Job(payload=Read(), attempt=2, port=port)


@pytest.mark.parametrize("method", ["invoices", "late", "plain", "nothing", "__call__"])
def test_a_step_runs_once_a_job(method: str) -> None:
    """A later attempt gets the same value, of the same types, without a call."""
    counter = Counter()
    first, second = attempts()
    before = first.step("read", getattr(counter, method))
    after = second.step("read", getattr(counter, method))
    assert before == after
    assert type(before) is type(after)
    assert counter.calls == 1


def test_a_step_passes_its_arguments() -> None:
    """Positional and keyword arguments reach the function, also through a partial."""
    counter = Counter()
    first, second = attempts()
    assert first.step("a", counter.invoice, "7") == Invoice(number="7")
    assert first.step("b", counter.invoice, number="8") == Invoice(number="8")
    assert first.step("c", functools.partial(counter.invoice, "9")) == Invoice(number="9")
    assert second.step("c", functools.partial(counter.invoice, "9")) == Invoice(number="9")
    assert second.step("d", Invoice, number="10") == Invoice(number="10")


def test_a_step_of_a_callable_object() -> None:
    """An object with a typed call is kept through that type."""
    counter = Counter()
    first, second = attempts()
    assert first.step("x", counter) == (1, 2)
    assert second.step("x", counter) == (1, 2)


@pytest.mark.parametrize(
    "value",
    [object(), Invoice(number="1"), (1, 2), {1: 2}, float("nan"), b"\xff", datetime(2026, 1, 1, tzinfo=UTC)],
)
def test_a_step_that_cannot_be_kept_is_unrecoverable(value: Any) -> None:
    """A value that JSON would change is told with the step's name, and is not tried again."""
    job, _ = attempts()
    with pytest.raises(UnkeptStep, match="step 'ocr': ") as caught:
        job.step("ocr", lambda: value)
    assert isinstance(caught.value, NotSerialisable)
    assert isinstance(caught.value, Unrecoverable)


def test_a_kept_value_that_no_longer_fits_is_told() -> None:
    """When the function's type has changed since, the message says to name the step anew."""
    port = MemoryPort()
    port.save_step("read", b'{"other": 1}')
    with pytest.raises(NotSerialisable, match=r"step 'read': .*give the step a new name"):
        Job(payload=Read(), port=port).step("read", Counter().invoice, "1")


def test_a_name_is_taken_once_an_attempt() -> None:
    """A loop that forgets to number its steps is told, instead of getting the first value again."""
    job, _ = attempts()
    job.step("page", int)
    with pytest.raises(DeclarationError, match="step 'page': this attempt has had a step of this name"):
        job.step("page", int)
    for wrong in ("", None, int):
        with pytest.raises(DeclarationError, match="expected a name"):
            job.step(wrong, int)


def test_async_steps() -> None:
    """An async step is awaited, kept and recalled; a blocking one goes through in_thread with its type."""
    counter = Counter()
    first, second = attempts()

    async def run(job: Any) -> Any:
        return (
            await job.step("later", counter.later, "1"),
            await job.step("thread", in_thread(counter.invoice), "2"),
        )

    expected = (Invoice(number="1"), Invoice(number="2"))
    assert asyncio.run(run(first)) == expected
    assert asyncio.run(run(second)) == expected
    assert counter.calls == 2


def test_a_blocking_step_on_the_event_loop_is_told() -> None:
    """It would stop all async jobs of the worker; the message shows in_thread."""
    counter = Counter()

    async def run() -> None:
        attempts()[0].step("ocr", counter.plain)

    with pytest.raises(DeclarationError, match=r"step 'ocr': Counter\.plain would block .*in_thread"):
        asyncio.run(run())
    assert counter.calls == 0


def test_an_async_step_without_a_loop_is_told() -> None:
    """A plain processor cannot await; the coroutine is not left behind."""
    with pytest.raises(DeclarationError, match=r"step 'x': expected a plain function, got the async Counter\.later"):
        attempts()[0].step("x", Counter().later, "1")
    with pytest.raises(DeclarationError, match="gave an awaitable"):
        attempts()[0].step("x", lambda: Counter().later("1"))


def test_in_thread_refuses_async_functions() -> None:
    """A coroutine function needs no thread."""
    with pytest.raises(DeclarationError, match=r"in_thread: Counter\.later is async already"):
        in_thread(Counter().later)


def test_a_lost_claim_passes_through() -> None:
    """What the port raises when the job is another worker's ends the step, and nothing is kept."""

    class Lost(MemoryPort):
        def save_step(self, name: str, value: Any) -> Never:
            raise LostClaim

    port = Lost()
    with pytest.raises(LostClaim):
        Job(payload=Read(), port=port).step("a", int)
    assert port.steps == {}


@pytest.mark.parametrize("percent", [-1, 101, "50", None, True, float("nan")])
def test_wrong_progress_is_told(percent: Any) -> None:
    """Progress is a number from 0 to 100."""
    with pytest.raises(DeclarationError, match=r"job\.progress\(percent\): expected a number from 0 to 100"):
        attempts()[0].progress(percent)


def test_progress_and_enqueue_reach_the_port() -> None:
    """A job without a worker keeps what its processor did, for a test to look at."""
    port = MemoryPort()
    job = Job(payload=Read(), port=port)
    job.progress(20, "downloaded")
    job.progress(100)
    later = draft(Read(number=2), delay=3)
    assert job.enqueue(later) == later.id
    assert asyncio.run(job.aenqueue(Read(number=3))) == port.enqueued[1].id
    assert port.progressed == [Progress(20.0, "downloaded"), Progress(100.0, "")]
    assert [each.payload.number for each in port.enqueued] == [2, 3]
    with pytest.raises(WrongPayload, match=r"job\.enqueue"):
        job.enqueue(Read)


def test_a_job_for_a_test_needs_its_payload_only() -> None:
    """Everything else has a value that a first attempt would have."""
    job = Job(payload=Read(number=4))
    assert (job.payload.number, job.attempt, job.epoch, dict(job.tags), job.scheduled_for) == (4, 1, 1, {}, None)
    with pytest.raises(AttributeError):
        job.attempt = 2


def test_a_permit_without_a_worker_is_granted() -> None:
    """Without a worker a permit is there at once, and the port keeps its name."""
    port = MemoryPort()
    job = Job(payload=Read(), port=port)
    job.permit(RateLimit(1, per=10), name="crm")
    job.permit(RateLimit(1, per=10), name="crm")
    asyncio.run(job.apermit(RateLimit(1, per=10), name="erp"))
    assert port.permitted == ["crm", "crm", "erp"]


def test_a_permit_is_waited_for() -> None:
    """The job asks again after the time that it was told, until its permit is counted."""

    class Busy(MemoryPort):
        waits = (0.001, 0.002)

        def permit(self, name: str, limit: RateLimit) -> float:
            super().permit(name, limit)
            return self.waits[len(self.permitted) - 1] if len(self.permitted) <= len(self.waits) else 0.0

    port = Busy()
    Job(payload=Read(), port=port).permit(RateLimit(1, per=10), name="crm")
    assert len(port.permitted) == 3
    port = Busy()
    asyncio.run(Job(payload=Read(), port=port).apermit(RateLimit(1, per=10), name="crm"))
    assert len(port.permitted) == 3


@pytest.mark.parametrize(
    ("limit", "name", "said"),
    [
        (RateLimit(1, per=1, key="tenant_id"), "crm", "without a key.*job.payload.tenant_id"),
        (RateLimit(1, per=1), "", "name of a window"),
        (RateLimit(1, per=1), None, "name of a window"),
        (100, "crm", r"such as RateLimit\(100, per=10\)"),
    ],
)
def test_a_wrong_permit_is_told(limit: Any, name: Any, said: str) -> None:
    """A limit with a key, a name that is none and what is no limit are refused, in both forms."""
    job = Job(payload=Read())
    with pytest.raises(DeclarationError, match=said):
        job.permit(limit, name=name)
    with pytest.raises(DeclarationError, match=said):
        asyncio.run(job.apermit(limit, name=name))


def test_a_permit_does_not_block_the_event_loop() -> None:
    """On an event loop `permit` says to await `apermit`."""

    async def ask() -> None:
        Job(payload=Read()).permit(RateLimit(1, per=1), name="crm")

    with pytest.raises(DeclarationError, match=r"await job\.apermit"):
        asyncio.run(ask())
