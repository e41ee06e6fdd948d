"""JobKit: puts the parts together, starts and stops them. Nothing else constructs parts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, overload

from jobkit.admin import Jobs
from jobkit.client import Client, drafted, drafts
from jobkit.config import Settings
from jobkit.door import Door
from jobkit.envelopes import Envelopes
from jobkit.errors import DeclarationError
from jobkit.jobs import Job, JobHandle
from jobkit.limits import Priority
from jobkit.locks import HeldLock, alock, lock
from jobkit.pausing import Pauses
from jobkit.queues import QueueSet, QueueSpec
from jobkit.results import JobResult

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from jobkit.container import ContainerArg
    from jobkit.dedupe import Dedupe
    from jobkit.inline import Inline
    from jobkit.pauses import Pause
    from jobkit.payloads import Payload
    from jobkit.processors import Entries, ProcessorRegistry
    from jobkit.results import Draft
    from jobkit.store import Store
    from jobkit.timing import Seconds
    from jobkit.worker import Worker

T = TypeVar("T")

OnCompleted: TypeAlias = Callable[[Job[Any], JobResult[Any]], None]
OnFailed: TypeAlias = Callable[[Job[Any], BaseException], None]


class JobKit:
    """An application's background jobs: its queues, its processors, one Redis.

    Making one reads settings and checks declarations; it opens nothing. The first call that needs Redis connects (and
    starts the embedded server where the settings say `embedded://`); processors are imported, and the container is
    made, when a worker starts.

    Args:
        settings: what the environment decides; read from JOBKIT_ variables when None.
        queues: every queue of the application.
        processors: a module's path, a module, a Processor, or a list of these; entry points of the group
            `jobkit.processors` are taken besides.
        container: a dependency-injector container class, a function that makes one, a ContainerView, or an async
            context manager that yields ready objects. Opened when a worker starts, closed when it ends.
        on_completed: called in the worker after a job's finish was recorded, with the job and its result.
        on_failed: called in the worker once it is recorded that a job failed for good, with the job and the error; not
            for attempts that another follows, nor for a job that could not be read or whose workers died, which has no
            attempt to tell of. What a hook raises is logged and changes nothing.

    Raises:
        DeclarationError: a declaration is wrong; the message says what was expected.
        ConfigurationError: a setting is wrong.

    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        queues: Iterable[QueueSpec],
        processors: Entries = None,
        container: ContainerArg = None,
        on_completed: OnCompleted | None = None,
        on_failed: OnFailed | None = None,
    ) -> None:
        given: object = settings
        if given is not None and not isinstance(given, Settings):
            raise DeclarationError(f"JobKit: expected Settings first, got {settings!r:.200}")
        self.settings = Settings() if settings is None else settings
        self.queues = QueueSet(queues, self.settings.queues)
        self._processors = processors
        self._container = container
        self._on_completed = on_completed
        self._on_failed = on_failed
        self._door = Door(self.settings)
        self._client = Client(self._door, Envelopes(self.queues, self.settings.max_payload))

    # What it is made of

    @property
    def store(self) -> Store:
        """The door to Redis, opened at the first use. Raises StoreUnavailable or UnsuitableServer."""
        return self._door.store()

    @property
    def redis_url(self) -> str:
        """The URL that RQ's tools take to look at the same queues; of Sentinels they want settings instead."""
        return self.store.url or ""

    @cached_property
    def registry(self) -> ProcessorRegistry:
        """The processors by name; importing them is what makes a worker heavier than a client."""
        from jobkit.processors import load_processors  # noqa: PLC0415 - clients never load dependency_injector

        return load_processors(self._processors)

    @property
    def jobs(self) -> Jobs:
        """Jobs, queues and workers as an operator asks about them."""
        return Jobs(self.store, self.queues)

    @property
    def _inline(self) -> Inline:
        from jobkit.inline import Inline  # noqa: PLC0415 - as in registry

        return Inline(self.registry, self._container)

    # Enqueueing

    def enqueue(
        self,
        payload: Payload[T] | Draft[T],
        /,
        *,
        delay: Seconds = 0.0,
        at: datetime | None = None,
        job_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: Priority = Priority.NORMAL,
        dedupe: Dedupe | None = None,
    ) -> JobHandle[T]:
        """Store a job; when this returns it is on Redis, or the one that it would repeat is.

        Args:
            payload: what the job carries, or a draft (which brings its own options).
            delay: seconds (or timedelta) before it may start, by the server's clock.
            at: a moment with a timezone before which it does not start; exclusive with `delay`.
            job_id: letters, digits, _ and -. One id makes one job, so an enqueue whose answer was lost may be repeated.
            tags: labels for logs, status and filters.
            priority: HIGH, NORMAL or LOW, in a queue that has priorities (`QueueSpec(ageing=)`).
            dedupe: a key by which the job may repeat another; the handle is then the other's.

        Raises:
            WrongPayload, NotSerialisable, PayloadTooLarge, UnknownQueue: the payload, named with its field.
            DeclarationError: an option.
            StoreUnavailable: no answer from Redis in time. The job may be stored: repeat with the same `job_id`.
            StoreFull: Redis refused it; nothing was stored.

        """
        return self._client.enqueue(drafted(payload, delay, at, job_id, tags, priority, dedupe))

    async def aenqueue(
        self,
        payload: Payload[T] | Draft[T],
        /,
        *,
        delay: Seconds = 0.0,
        at: datetime | None = None,
        job_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: Priority = Priority.NORMAL,
        dedupe: Dedupe | None = None,
    ) -> JobHandle[T]:
        """As `enqueue`, on the running event loop."""
        return await self._client.aenqueue(drafted(payload, delay, at, job_id, tags, priority, dedupe))

    def enqueue_many(self, payloads: Iterable[Payload[T] | Draft[T]], /) -> Sequence[JobHandle[T]]:
        """Store many jobs, 500 a call; all are checked before the first is sent.

        Raises what `enqueue` raises. Where Redis goes away midway the calls before are stored: give drafts, whose ids
        are theirs, and repeat the whole.
        """
        return self._client.enqueue_many(drafts(payloads))

    async def aenqueue_many(self, payloads: Iterable[Payload[T] | Draft[T]], /) -> Sequence[JobHandle[T]]:
        """As `enqueue_many`, on the running event loop."""
        return await self._client.aenqueue_many(drafts(payloads))

    @overload
    def handle(self, job_id: str, /) -> JobHandle[object]: ...
    @overload
    def handle(self, job_id: str, of: type[Payload[T]], /) -> JobHandle[T]: ...
    def handle(self, job_id: str, of: type[Payload[Any]] | None = None, /) -> JobHandle[Any]:
        """A handle on an earlier job; `of` is its payload class, which types the result. Asks Redis nothing.

        Raises DeclarationError where the id is no str, or `of` no payload class.
        """
        return self._client.known(job_id, of)

    # Pauses

    def pause(
        self,
        *,
        queue: str | None = None,
        name: str | None = None,
        tag: tuple[str, str] | None = None,
        reason: str = "",
        until: datetime | None = None,
        by: str | None = None,
    ) -> Pause:
        """Have no worker of the cluster begin these jobs until they are resumed; what runs goes on.

        Args:
            queue: the jobs of this queue; with nothing else, all of it stands still.
            name: jobs of this name, as it was when they were enqueued: an alias is a name of its own.
            tag: jobs with this label, a pair of its key and its value. With several of the three, jobs that all fit.
            reason: shown to whoever asks what is paused, and in the status of jobs that are held.
            until: a moment with a timezone at which the pause ends by itself, by the server's clock.
            by: who pauses; default user@host.

        Raises:
            UnknownQueue: neither the kit nor this Redis knows the queue; the message suggests the nearest.
            DeclarationError: an option; or 200 pauses are in force.
            StoreUnavailable: no answer from Redis in time. It may be in force: see `pauses`.

        """
        return self._pauses.pause(queue=queue, name=name, tag=tag, reason=reason, until=until, by=by)

    def resume(
        self,
        pause: Pause | str | None = None,
        /,
        *,
        queue: str | None = None,
        name: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> int:
        """End a pause, or all that were made with just these options; how many there were.

        When this returns, what they held is back at the front of its queues, in order. What is left over where the
        caller dies, the workers' sweeps bring back. Raises DeclarationError and StoreUnavailable; it may be repeated.
        """
        return self._pauses.resume(pause, queue=queue, name=name, tag=tag)

    def pauses(self) -> list[Pause]:
        """What is paused, the oldest first. Raises StoreUnavailable."""
        return self._pauses.ls()

    @property
    def _pauses(self) -> Pauses:
        return Pauses(self.store, self.queues)

    # Running

    def run(self, payload: Payload[T], /) -> JobResult[T]:
        """Run the payload's processor here and now, without Redis; raises what it raises.

        Follow-ups are in the result's `then`, for the caller to enqueue.
        """
        return self._inline.run(payload)

    async def arun(self, payload: Payload[T], /) -> JobResult[T]:
        """As `run`, on the running event loop."""
        return await self._inline.arun(payload)

    def worker(self, *queues: str) -> Worker:
        """A worker for the named queues (default: all), not yet started.

        Raises:
            UnknownQueue: a name is none of the kit's; the message suggests the nearest.
            DeclarationError: a processor is wrong, or two carry one name.
            StoreUnavailable, UnsuitableServer: the server.

        """
        from jobkit.worker import Worker  # noqa: PLC0415 - as in registry

        return Worker(
            self.store,
            self.settings,
            self.queues,
            self.registry,
            self._container,
            names=queues or None,
            on_completed=self._on_completed,
            on_failed=self._on_failed,
        )

    @contextmanager
    def running(self, *queues: str, workers: bool | None = None) -> Generator[Self]:
        """The kit with a worker in this process, in threads: started on entry, drained and closed on exit.

        Args:
            queues: which to serve; default all.
            workers: whether to start one; None means in every environment but `test`, where nothing starts by itself.

        """
        start = not self.settings.testing if workers is None else workers
        with self:
            if not start:
                yield self
                return
            worker = self.worker(*queues)
            worker.start()
            try:
                yield self
            finally:
                worker.stop()
                worker.join()

    # Locks

    def lock(
        self, name: str, /, *, wait: Seconds | None = None, lease: Seconds | None = None
    ) -> AbstractContextManager[HeldLock]:
        """Hold a mutex: `with kit.lock("entra-sync", wait=10) as held:` keeps out jobs with this `mutex=`.

        Other locks of this name too, on all hosts. It is no turn in a line: whoever asks when it is free gets it. A job
        must not take the mutex that it runs under; nor is a lock to be taken twice by one thread.

        Args:
            name: the mutex; of a payload's `mutex="tenant:{tenant_id}"` the text with its fields, `tenant:t_1`.
            wait: seconds (or timedelta) to wait for it; 0 tries once, None waits for as long as it takes.
            lease: seconds after which it is free where this process dies; renewed by a thread at a third of it. By
                default the kit's own, `Settings.lease`.

        Raises:
            LockTimeout: somebody else held it all the time.
            DeclarationError: an argument.
            StoreUnavailable: no answer from Redis.
            StoreFull: Redis refused it.

        """
        return lock(self._door, name, wait, self.settings.lease if lease is None else lease)

    def alock(
        self, name: str, /, *, wait: Seconds | None = None, lease: Seconds | None = None
    ) -> AbstractAsyncContextManager[HeldLock]:
        """As `lock`, on the running event loop: `async with kit.alock("entra-sync") as held:`."""
        return alock(self._door, name, wait, self.settings.lease if lease is None else lease)

    # Lifecycle

    def close(self) -> None:
        """Close connections, and leave the embedded server, which stops when nobody else uses it.

        A later call opens them anew. What was used on an event loop is closed there, by `aclose` (`async with kit:`).
        """
        self._door.close()

    async def aclose(self) -> None:
        """As `close`, with the connections of the running event loop."""
        await self._door.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
