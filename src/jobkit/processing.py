"""Processor: the function of one payload. A value; registering happens in JobKit, not here."""

from __future__ import annotations

import inspect
import typing
from types import NoneType, UnionType
from typing import Any, Concatenate, Generic, Never, ParamSpec

import attrs
from pydantic import PydanticSchemaGenerationError, PydanticUserError, ValidationError
from pydantic_core import PydanticSerializationError
from typing_extensions import TypeVar

from jobkit import values
from jobkit.errors import DeclarationError, WrongResult
from jobkit.jobs import Job
from jobkit.payloads import P, P_co, Payload, kind
from jobkit.results import JobResult

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

X = TypeVar("X")
X_co = TypeVar("X_co", covariant=True)
Q = ParamSpec("Q")

_SLICES = ("domain", "infrastructure", "cross_cutting")


def _payload_class(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if not (isinstance(value, type) and issubclass(value, Payload)):
        raise DeclarationError(f"@processor: expected a payload class, got {value!r}")
    kind(value)


def _function(_: object, __: attrs.Attribute[Any], value: Any) -> None:
    where = _called(value)
    if not callable(value) or isinstance(value, type):
        raise DeclarationError(f"@processor: expected a function, got {value!r}")
    if inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        raise DeclarationError(f"{where}: expected a function that returns, got a generator; use job.progress instead")
    parameters = list(inspect.signature(value).parameters.values())
    plain = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if len(plain) != len(parameters) or len(parameters) not in (1, 2):
        raise DeclarationError(
            f"{where}: expected (job) or (job, view), got {inspect.signature(value)}; what it needs besides comes "
            "through the view",
        )


@attrs.frozen
class Processor(Generic[P_co, Q, X_co]):
    """One payload's function, made by `@processor(PayloadClass)`.

    Attributes:
        payload: the payload's class.
        fn: the function: `def` or `async def`, of the job, or of the job and the view.
        is_async: whether it runs on the event loop; else in a thread.
        takes_view: whether it takes the view beside the job.
        result: the type it gives back, as the payload declares it; NoneType for nothing.

    """

    payload: type[P_co] = attrs.field(validator=_payload_class)
    fn: Callable[..., Any] = attrs.field(validator=_function)
    is_async: bool = attrs.field(init=False, eq=False, repr=False)
    takes_view: bool = attrs.field(init=False, eq=False, repr=False)
    result: Any = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Find out once what is asked for each job."""
        called = getattr(self.fn, "__call__", None)  # noqa: B004 - the method is looked at
        found = {
            "is_async": inspect.iscoroutinefunction(self.fn) or inspect.iscoroutinefunction(called),
            "takes_view": len(inspect.signature(self.fn).parameters) > 1,
            "result": kind(self.payload).result,
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """The stable name of its jobs."""
        return kind(self.payload).name

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases under which jobs may be waiting."""
        known = kind(self.payload)
        return (known.name, *known.aliases)

    @property
    def where(self) -> str:
        """The function's module and name, for messages."""
        return _called(self.fn)

    def protocols(self) -> tuple[Any, Any, Any] | None:
        """The types of the view's slices (domain, infrastructure, cross_cutting); None when it takes the job alone.

        Raises:
            DeclarationError: the second parameter is not annotated with a ContainerView, or with names that exist for
                type checkers only.

        """
        if not self.takes_view:
            return None
        parameter = list(inspect.signature(self.fn).parameters)[1]
        annotation = self._hints().get(parameter)
        origin = typing.get_origin(annotation) or annotation
        if getattr(origin, "__jobkit_view__", False) is not True:
            raise DeclarationError(
                f"{self.where}: expected its parameter {parameter!r} to be annotated with "
                f"ContainerView[Domain, Infrastructure, CrossCutting], got {annotation!r}",
            )
        args = typing.get_args(annotation) or (Any,) * len(_SLICES)
        return (args[0], args[1], args[2])

    def check(self) -> None:
        """Compare the annotations with the payload, as a worker does when it starts.

        Raises:
            DeclarationError: it takes another payload's job, promises another result, or its result type has no JSON.

        """
        hints = self._hints()
        first = next(iter(inspect.signature(self.fn).parameters))
        annotation = hints.get(first, Any)
        if annotation is not Any:
            taken = typing.get_args(annotation)
            if typing.get_origin(annotation) is not Job and annotation is not Job:
                raise DeclarationError(
                    f"{self.where}: expected its first parameter to be a Job[{self.payload.__qualname__}], "
                    f"got {annotation!r}",
                )
            if taken and isinstance(taken[0], type) and not issubclass(self.payload, _unbound(taken[0])):
                raise DeclarationError(
                    f"{self.where}: it is the processor of {self.payload.__qualname__} and takes a "
                    f"Job[{taken[0].__qualname__}]",
                )
        self._check_result(hints.get("return", Any))
        self.protocols()

    def _check_result(self, returns: Any) -> None:
        try:
            schema = values.adapter(self.result).core_schema
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            raise DeclarationError(
                f"{self.payload.__qualname__}: pydantic has no JSON for its result type {self.result!r}: {error}",
            ) from error
        for path, fault in values.lossy(schema):
            if fault == "secret":
                raise DeclarationError(
                    f"{self.payload.__qualname__}: its result holds a secret{f' at {path}' if path else ''}, which "
                    "would come back as stars; give back a reference to it",
                )
        for given in _alternatives(returns):
            if not _admits(self.result, given):
                raise DeclarationError(
                    f"{self.where}: it returns {_spelt(given)}, and {self.payload.__qualname__} promises "
                    f"{_spelt(self.result)}; say Payload[{_spelt(given)}] or return what is promised",
                )

    def _hints(self) -> dict[str, Any]:
        target: Any = self.fn if hasattr(self.fn, "__annotations__") else type(self.fn).__call__
        try:
            return typing.get_type_hints(target)
        except NameError as error:
            raise DeclarationError(
                f"{self.where}: its annotations name {error.name!r}, which does not exist when it runs; import it "
                "outside `if TYPE_CHECKING:` (the worker makes the view from these annotations)",
            ) from error

    def normalise(self, returned: object) -> JobResult[Any]:
        """What the function returned, as a JobResult whose value fits the payload's declaration.

        Raises:
            WrongResult: it does not fit, or is None where a result is promised.

        """
        if isinstance(returned, JobResult):
            result: JobResult[Any] = returned
            if result.outcome != "completed":
                return result
            value = self._validated(result.value)
            return result if value is result.value else attrs.evolve(result, value=value)
        return JobResult("completed", self._validated(returned))

    def _validated(self, value: object) -> Any:
        declared = self.result
        if value is None and declared is NoneType:
            return None
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise WrongResult(f"{self.where}: it returned an awaitable; await it, or make the function an async def")
        try:
            return values.adapter(declared).validate_python(value)
        except ValidationError as error:
            got = "None; was a return forgotten?" if value is None else f"{value!r:.200}"
            faults = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'the value'}: {each['msg']}"
                for each in error.errors(include_url=False, include_input=False)
            )
            raise WrongResult(f"{self.where}: expected {_spelt(declared)}, got {got} ({faults})") from error

    def dump(self, value: object) -> bytes:
        """The result's value as JSON; of a JobResult, its value.

        Raises:
            WrongResult: it has no JSON.

        """
        if isinstance(value, JobResult):
            value = value.value
        if value is None:
            return b"null"
        try:
            return values.dump(self.result, value)
        except (PydanticSerializationError, ValueError) as error:
            raise WrongResult(
                f"{self.where}: its result cannot be written as JSON: {error}; declare a result type whose values can",
            ) from error


def load_result(payload: type[Payload[X]], data: bytes | str) -> X:
    """The result that `Processor.dump` wrote, as the type that the payload declares.

    Raises:
        WrongResult: it does not fit that type, which has changed since.

    """
    declared = kind(payload).result
    try:
        out: X = values.load(declared, data)
    except ValidationError as error:
        raise WrongResult(
            f"{kind(payload).name}: the kept result is no {_spelt(declared)} any more: {error}",
        ) from error
    return out


@attrs.frozen
class ProcessorFor(Generic[P_co]):
    """What `processor(PayloadClass)` gives: the decorator of that payload's function."""

    payload: type[P_co] = attrs.field(validator=_payload_class)

    def __call__(
        self: ProcessorFor[Payload[X]],
        fn: Callable[Concatenate[Job[P_co], Q], Coroutine[Any, Any, JobResult[X] | X] | JobResult[X] | X],
        /,
    ) -> Processor[P_co, Q, X]:
        """The function as a processor."""
        made: Any = Processor(self.payload, fn)
        return made  # type: ignore[no-any-return]


def processor(payload: type[P], /) -> ProcessorFor[P]:
    """Make a function the processor of a payload.

    @processor(ReadInvoice)
    def read_invoice(job: Job[ReadInvoice], view: View) -> JobResult[Invoice]: ...

    The function takes the job, or the job and a view; it is a `def` (runs in a thread) or an `async def` (runs on the
    event loop). It returns a JobResult or the declared result itself, and raises to fail.

    Raises:
        DeclarationError: the payload is none, or the function has other parameters.

    """
    return ProcessorFor(payload)


def _unbound(payload: Any) -> Any:
    """The class itself of a Payload[object], which pydantic makes a subclass."""
    meta = getattr(payload, "__pydantic_generic_metadata__", None)
    return (meta and meta["origin"]) or payload


def _alternatives(returns: Any) -> list[Any]:
    """The types of value that a return annotation may give: what stands in JobResult[...], and what stands beside."""
    origin = typing.get_origin(returns)
    if origin in (typing.Union, UnionType):
        return [each for part in typing.get_args(returns) for each in _alternatives(part)]
    if origin is JobResult:
        return _alternatives(typing.get_args(returns)[0])
    return [] if returns is JobResult else [NoneType if returns is None else returns]


def _admits(declared: Any, given: Any) -> bool:
    """Whether a value of the given type may fit; only what certainly does not is told, values are validated anyway."""
    if given in (Any, Never, typing.NoReturn, object) or declared in (Any, object) or given == declared:
        return True
    origin = typing.get_origin(declared)
    if origin in (typing.Union, UnionType):
        return any(_admits(each, given) for each in typing.get_args(declared))
    if origin is typing.Annotated:
        return _admits(typing.get_args(declared)[0], given)
    if declared is None or declared is NoneType or given is NoneType:
        return (declared in (None, NoneType)) == (given is NoneType)
    if isinstance(declared, type) and isinstance(given, type) and not (origin or typing.get_origin(given)):
        return issubclass(given, declared) or (declared is float and given is int)
    return True


def _spelt(annotation: Any) -> str:
    if annotation is NoneType:
        return "None"
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _called(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None)
    return f"{getattr(fn, '__module__', '?')}.{name}" if name else repr(fn)
