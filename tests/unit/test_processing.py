import asyncio
from collections.abc import Iterator
from typing import Any, Never, Protocol

import pytest
from pydantic import BaseModel, SecretStr

from jobkit.errors import DeclarationError, Unrecoverable, WrongResult
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.processing import Processor, load_result, processor
from jobkit.results import JobResult
from jobkit.views import ContainerView


class Invoice(BaseModel):
    number: str
    cents: int = 0


class Special(Invoice):
    discount: int = 0


class Read(Payload[Invoice], name="read", queue="q", aliases=["old.read"]): ...


class Note(Payload, name="note", queue="q"): ...


class Maybe(Payload[Invoice | None], name="maybe", queue="q"): ...


class Anything(Payload[Any], name="anything", queue="q"): ...


class Rows(Payload[list[Invoice]], name="rows", queue="q"): ...


class Raw(Payload[bytes], name="raw", queue="q"): ...


class Infrastructure(Protocol):
    @property
    def ocr(self) -> int: ...


View = ContainerView[None, Infrastructure, None]


@processor(Read)
def read(job: Job[Read], view: View) -> JobResult[Invoice]:
    """The processor of Read."""
    return JobResult.completed(Invoice(number="1"))


@processor(Note)
async def note(job: Job[Note]) -> None:
    """The processor of Note."""
    await asyncio.sleep(0)  # reason: one turn of the loop, no time


def made(payload: Any) -> Processor[Any, ..., Any]:
    """A processor of the payload, whose function is not called."""
    return processor(payload)(lambda job: None)


def test_a_processor_knows_its_function() -> None:
    """What is asked for each job is found out once."""
    assert (read.name, read.names, read.result) == ("read", ("read", "old.read"), Invoice)
    assert (read.is_async, read.takes_view) == (False, True)
    assert (note.is_async, note.takes_view) == (True, False)
    assert read.protocols() == (type(None), Infrastructure, type(None))
    assert note.protocols() is None
    assert read.where.endswith("test_processing.read")


def test_a_callable_object_may_be_a_processor() -> None:
    """An object with an async call is told from a plain one."""

    class Plain:
        def __call__(self, job: Job[Note]) -> None: ...

    class Awaited:
        async def __call__(self, job: Job[Note]) -> None: ...

    assert processor(Note)(Plain()).is_async is False
    assert processor(Note)(Awaited()).is_async is True
    processor(Note)(Awaited()).check()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (Invoice, "expected a payload class, got .*Invoice"),
        (Note(), "expected a payload class"),
        (None, "expected a payload class"),
        (lambda job: None, "expected a payload class"),
    ],
)
def test_a_processor_of_something_else_is_told(payload: Any, message: str) -> None:
    """@processor without its payload, or with an instance, is refused."""
    with pytest.raises(DeclarationError, match=message):
        processor(payload)


def generator(job: Any) -> Iterator[None]:
    """What gives more than once."""
    yield


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda: None, r"expected \(job\) or \(job, view\), got \(\)"),
        (lambda a, b, c: None, "expected"),
        (lambda job, *args: None, "expected"),
        (lambda job, *, view: None, "expected"),
        (lambda job, **kwargs: None, "expected"),
        (generator, "got a generator"),
        (Invoice, "expected a function"),
        ("read", "expected a function"),
    ],
)
def test_functions_with_other_parameters_are_told(fn: Any, message: str) -> None:
    """A processor takes the job, or the job and the view; it returns once."""
    with pytest.raises(DeclarationError, match=message):
        processor(Note)(fn)


def takes_another(job: Job[Read]) -> None:
    """Takes the job of another payload."""


def takes_no_job(job: Read) -> None:
    """Takes the payload itself."""


def takes_a_dict(job: Job[Note], view: dict[str, int]) -> None:
    """Takes no view."""


def gives_int(job: Job[Note]) -> int:
    """Gives what is not promised."""
    return 1


def gives_int_result(job: Job[Note]) -> JobResult[int]:
    """Gives a result of what is not promised."""
    return JobResult.completed(1)


def names_nothing(job: "Job[Note]", view: "Nowhere") -> None:  # noqa: F821 - the name that is not there
    """Names what is not there."""


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (takes_another, r"it is the processor of Note and takes a Job\[Read\]"),
        (takes_no_job, r"expected its first parameter to be a Job\[Note\]"),
        (takes_a_dict, r"expected its parameter 'view' to be annotated with ContainerView\[Domain"),
        (gives_int, "it returns int, and Note promises None"),
        (gives_int_result, "it returns int, and Note promises None"),
        (names_nothing, "its annotations name 'Nowhere', .*outside `if TYPE_CHECKING:`"),
    ],
)
def test_annotations_are_compared_with_the_payload(fn: Any, message: str) -> None:
    """What a worker would notice at the first job is told when it starts."""
    with pytest.raises(DeclarationError, match=message):
        processor(Note)(fn).check()


def gives_none(job: Job[Read]) -> None:
    """Gives nothing."""


def gives_special(job: Job[Read]) -> Special | JobResult[Never]:
    """Gives a subclass."""
    return Special(number="1")


def gives_maybe(job: Job[Maybe]) -> JobResult[Invoice] | None:
    """Gives one alternative."""


def takes_any_payload(job: Job[Payload[object]]) -> Any:
    """Takes the job of any payload."""


def test_annotations_that_may_fit_pass() -> None:
    """A subclass, an alternative of a union, a base payload or no annotation is left to the check of the value."""
    read.check()
    note.check()
    made(Read).check()
    processor(Read)(gives_special).check()
    processor(Maybe)(gives_maybe).check()
    processor(Note)(takes_any_payload).check()
    with pytest.raises(DeclarationError, match="it returns None, and Read promises Invoice"):
        processor(Read)(gives_none).check()


def test_result_types_without_json_are_told() -> None:
    """A result that pydantic cannot describe, or that holds a secret, is refused when the worker starts."""

    class Odd: ...

    class Gives(Payload[Odd], name="odd", queue="q"): ...

    class Token(BaseModel):
        value: SecretStr

    class Login(Payload[Token], name="login", queue="q"): ...

    with pytest.raises(DeclarationError, match=r"Gives: pydantic has no JSON for its result type"):
        made(Gives).check()
    with pytest.raises(DeclarationError, match="Login: its result holds a secret at value"):
        made(Login).check()


def test_normalise_takes_results_and_bare_values() -> None:
    """A JobResult and the declared value itself both become a JobResult whose value fits."""
    invoice = Invoice(number="1")
    given = JobResult.completed(invoice, then=[Note()])
    assert read.normalise(given) is given
    assert read.normalise(invoice) == JobResult.completed(invoice)
    assert read.normalise({"number": "1"}).value == invoice
    assert made(Note).normalise(None).value is None
    assert made(Maybe).normalise(None).value is None
    assert made(Anything).normalise(None).value is None
    for other in (JobResult.snoozed(1, "busy"), JobResult.cancelled("gone")):
        assert read.normalise(other) is other


@pytest.mark.parametrize(
    ("payload", "value", "message"),
    [
        (Read, None, "expected Invoice, got None; was a return forgotten"),
        (Read, JobResult.completed(), "expected Invoice, got None"),
        (Read, 3, "expected Invoice, got 3"),
        (Read, {"number": 3}, r"number: Input should be a valid string"),
        (Note, 3, "expected None, got 3"),
        (Rows, [Invoice(number="1"), 3], r"1: Input should be"),
    ],
)
def test_a_result_that_does_not_fit_is_unrecoverable(payload: Any, value: Any, message: str) -> None:
    """Its effects have happened: it is told with what was promised and what came, and not tried again."""
    with pytest.raises(WrongResult, match=message) as caught:
        made(payload).normalise(value)
    assert isinstance(caught.value, Unrecoverable)


def test_a_forgotten_await_is_told() -> None:
    """A plain function that returns an awaitable has not done its work."""
    with pytest.raises(WrongResult, match="it returned an awaitable"):
        made(Anything).normalise(asyncio.sleep(0))  # reason: an awaitable that nobody awaits


@pytest.mark.parametrize(
    ("payload", "value", "data"),
    [
        (Read, Invoice(number="1"), b'{"number":"1","cents":0}'),
        (Note, None, b"null"),
        (Rows, [Invoice(number="1", cents=2)], b'[{"number":"1","cents":2}]'),
        (Raw, b"text", b'"text"'),
    ],
)
def test_results_travel(payload: Any, value: Any, data: Any) -> None:
    """A result is written as JSON, and read as the declared type."""
    assert made(payload).dump(value) == data
    assert made(payload).dump(JobResult("completed", value)) == data
    assert load_result(payload, data) == value


@pytest.mark.parametrize(
    ("payload", "value"),
    [(Anything, object()), (Anything, {1, object()}), (Raw, b"\xff")],
)
def test_a_result_that_json_cannot_hold_is_unrecoverable(payload: Any, value: Any) -> None:
    """It is told, and not tried again."""
    with pytest.raises(WrongResult, match="its result cannot be written as JSON"):
        made(payload).dump(value)


def test_a_kept_result_of_another_shape_is_told() -> None:
    """A result that was kept under an earlier type does not pass as the new one."""
    with pytest.raises(WrongResult, match="read: the kept result is no Invoice any more"):
        load_result(Read, b"[]")
