"""Running a payload's processor here and now: the same function, the same view, no queue and no Redis."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from jobkit import di
from jobkit.container import ContainerArg, open_container
from jobkit.errors import DeclarationError
from jobkit.jobs import Job, running_job
from jobkit.payloads import Payload, check_payload, encode, kind
from jobkit.results import as_draft
from jobkit.views import build_view

if TYPE_CHECKING:
    from jobkit.processors import AnyProcessor, ProcessorRegistry
    from jobkit.results import JobResult

T = TypeVar("T")


@attrs.frozen
class Inline:
    """Runs processors in the caller's thread, each call in an empty context and a scope of its own.

    The container is opened for the call and closed after it. Steps and progress are kept in memory; follow-ups are in
    the result for the caller to enqueue.
    """

    registry: ProcessorRegistry
    container: ContainerArg

    def run(self, payload: Payload[T]) -> JobResult[T]:
        """One attempt; raises what the processor raises.

        Raises:
            UnknownJobName: no processor takes the payload.
            DeclarationError: the processor is async and an event loop runs here already: await `arun`.

        """
        processor = self.registry.find(kind(check_payload(payload, "run")).name)
        opening = open_container(self.container)
        if processor.is_async or opening.needs_loop:
            if _looping():
                raise DeclarationError(
                    f"run({processor.name}): it needs an event loop, and one is running here: await kit.arun(...)",
                )
            return contextvars.Context().run(asyncio.run, self.arun(payload))
        with opening as container:
            return contextvars.Context().run(self._call, processor, container, payload)

    async def arun(self, payload: Payload[T]) -> JobResult[T]:
        """As `run`, on the running event loop; a plain processor runs in a thread."""
        processor = self.registry.find(kind(check_payload(payload, "run")).name)
        async with open_container(self.container) as container:
            if processor.is_async:
                work = self._acall(processor, container, payload)
                return await asyncio.get_running_loop().create_task(work, context=contextvars.Context())
            call = contextvars.Context().run
            return await asyncio.get_running_loop().run_in_executor(
                None, lambda: call(self._call, processor, container, payload)
            )

    def _call(self, processor: AnyProcessor, container: Any, payload: Payload[Any]) -> JobResult[Any]:
        with di.scope():
            returned = processor.fn(*_arguments(processor, container, payload))
        return _concluded(processor, returned)

    async def _acall(self, processor: AnyProcessor, container: Any, payload: Payload[Any]) -> JobResult[Any]:
        with di.scope():
            returned = await processor.fn(*_arguments(processor, container, payload))
        return _concluded(processor, returned)


def _concluded(processor: AnyProcessor, returned: object) -> JobResult[Any]:
    """The result, checked as a worker checks it: what could not be stored is told here too."""
    result = processor.normalise(returned)
    if result.outcome == "completed":
        processor.dump(result.value)
        for item in result.then:
            encode(as_draft(item, "then=").payload)
    return result


def _arguments(processor: AnyProcessor, container: Any, payload: Payload[Any]) -> tuple[Any, ...]:
    job = Job(payload=payload, queue=kind(payload).queue)
    running_job.set(job.id)
    protocols = processor.protocols()
    return (job,) if protocols is None else (job, build_view(container, protocols)())


def _looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
