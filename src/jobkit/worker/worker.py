"""The worker: builds its parts, starts them in order, and takes them down again so that nothing is lost."""

from __future__ import annotations

import logging
import math
import os
import queue
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from jobkit.envelopes import Envelopes
from jobkit.errors import JobkitError, JobStopped
from jobkit.store.claims import Claims
from jobkit.store.peeking import Peeking
from jobkit.store.presence import Presence
from jobkit.store.rq_jobs import RqJobs
from jobkit.store.sweeps import Sweeps
from jobkit.worker.ahead import GiveBack
from jobkit.worker.attempt import Attempt, Pipeline
from jobkit.worker.commands import CommandListener, Heartbeat
from jobkit.worker.dispatch import Dispatch
from jobkit.worker.fetcher import Fetcher
from jobkit.worker.finisher import Finisher
from jobkit.worker.garbage import settled
from jobkit.worker.held import Held
from jobkit.worker.hooks import Hooks
from jobkit.worker.isolation import Isolation
from jobkit.worker.lanes import Lanes
from jobkit.worker.lease import LeaseKeeper
from jobkit.worker.leftovers import put_back
from jobkit.worker.loop_executor import LoopExecutor
from jobkit.worker.peek import Peeker
from jobkit.worker.port import StorePort
from jobkit.worker.release import release_of
from jobkit.worker.resources import Resources
from jobkit.worker.routes import Routes
from jobkit.worker.rules import enforce, rules_of
from jobkit.worker.signals import taken
from jobkit.worker.slots import Slots
from jobkit.worker.sweep import EVERY, Sweeper
from jobkit.worker.thread_executor import ThreadExecutor
from jobkit.worker.vanilla import Vanilla
from jobkit.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.config import Settings
    from jobkit.container import ContainerArg
    from jobkit.jobs import Job
    from jobkit.ports import ClaimPort
    from jobkit.processors import ProcessorRegistry
    from jobkit.queues import QueueSet
    from jobkit.results import JobResult
    from jobkit.store import Store
    from jobkit.worker.health import State
    from jobkit.worker.parts import Part

log = logging.getLogger("jobkit.worker")

GRACE: Final = 10.0
"""Seconds that an interrupted attempt has to end before it is given up."""
LAST_CALLS: Final = 1.0
"""Seconds that shutting down waits for a part at most, once the jobs have ended."""
OVERTIME: Final = 2.0
"""Seconds that a process takes to end at most, beyond its shutdown timeout; after these it leaves whatever hangs."""
LATE_SIGNAL: Final = 0.5
"""Seconds until a signal that did not wake the main thread is noticed."""
EXIT_DRAINED: Final = 0
EXIT_FAILED: Final = 1


class Worker:
    """Runs the jobs of some queues in this process.

    `run()` makes it the process's work: it takes SIGTERM and SIGINT, and gives the exit code. `start()`, `stop()` and
    `join()` run it in threads beside something else, a web API for example; it then touches no signals.

    Args:
        store: where the jobs are.
        settings: lease, shutdown_timeout (seconds), rq_functions (what vanilla jobs may call), environment, max_payload
        queues: the kit's queues.
        registry: the processors.
        container: what `JobKit(container=...)` was given; opened at the start, closed at the end.
        names: the queues to serve; all when None.
        on_completed: called with (job, result) once a finish is recorded; what it raises is logged.
        on_failed: called with (job, error) once it is recorded that a job failed for good. A job that could not be read
            (corrupt, pickled) has no Job to give, and is told in the log alone.
        grace: seconds that an interrupted attempt has to end.

    """

    def __init__(  # noqa: PLR0913 - the whole of a kit
        self,
        store: Store,
        settings: Settings,
        queues: QueueSet,
        registry: ProcessorRegistry,
        container: ContainerArg = None,
        *,
        names: Sequence[str] | None = None,
        on_completed: Callable[[Job[Any], JobResult[Any]], object] | None = None,
        on_failed: Callable[[Job[Any], BaseException], object] | None = None,
        grace: float = GRACE,
    ) -> None:
        specs = [queues.get(name) for name in dict.fromkeys(names)] if names else list(queues)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}".replace(":", "-")
        self.queues = tuple(spec.name for spec in specs)
        self.on_change: Callable[[], None] = lambda: None
        """Called when it has started, and when it begins to end; `state` says which."""
        self._store = store
        self._settings = settings
        self._all_queues = queues
        self._registry = registry
        self._requests: queue.SimpleQueue[Literal["stop", "fail"]] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._own_process = False
        self._supervised = False
        self._failed = False
        self._begun = False
        self._ready = threading.Event()
        self._leftover = False
        self._end_by = math.inf
        self._supervisor: threading.Thread | None = None
        rules = {spec.name: rules_of(spec) for spec in specs}
        self._claims = Claims(store, self.name, rules, settings.lease, release_of(registry))
        self._sweeps = Sweeps(store)
        self._presence = Presence(store, self.name, self.queues)
        self._capacity = {spec.name: spec.concurrency for spec in specs}
        self._slots = Slots(self._capacity)
        self._held = Held()
        self._hooks = Hooks(on_completed, on_failed, on_crash=self._crashed)
        self._isolation = Isolation(specs, worker=self.name, hooks=bool(on_completed or on_failed))
        self._envelopes = Envelopes(queues, settings.max_payload)
        self._container = container
        self._grace = grace

    def run(self, *, leave: Callable[[int], NoReturn] = os._exit, supervised: bool = False) -> int:
        """Work until a signal, a shutdown command or a failure; then answer the exit code.

        The first SIGTERM or SIGINT stops claiming and waits up to `shutdown_timeout` for running jobs; what is left
        then, or at the second signal, is put back. Answers 0 when it was stopped, 1 when it failed: half of its slots
        are held by attempts that do not end, or a part crashed. Threads that do not end would keep the process alive,
        so with any left it ends by `leave(code)`.

        Under a supervisor the signals do not count, each means one thing: SIGTERM to drain, SIGINT to put back. A
        service manager may send SIGTERM to all processes of a service, and the supervisor sends it too.

        Raises RuntimeError outside the main thread, and what `start` raises.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("Worker.run() takes the process's signals: call it in the main thread, or use start()")
        self._own_process = True
        self._supervised = supervised
        with taken(self._on_signal):
            self.start()
            # CPython looks for signals between instructions of the main thread. One that comes just before it begins to
            # wait, or that the kernel hands to another thread, would stay unseen until the wait is over.
            with settled():
                while not self.join(LATE_SIGNAL):
                    if time.monotonic() > self._end_by - LATE_SIGNAL:
                        log.error("the worker does not end in time; leaving what hangs to rescue")
                        self._leftover = True
                        break
        code = EXIT_FAILED if self._failed else EXIT_DRAINED
        log.info("worker ended", extra={"worker": self.name, "exit_code": code})
        if self._leftover:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            leave(code)
        return code

    def start(self) -> None:
        """Begin to work; returns once it is registered and claims.

        Raises StoreUnavailable or UnsuitableServer where Redis cannot be used, MissingProvider or DeclarationError
        where the container lacks what the processors need, RuntimeError at a second call. Nothing is left running then.
        """
        if self._begun:
            raise RuntimeError("worker: expected one start(), got a second; make a new worker")
        self._begun = True
        self._store.check(self._settings.environment)
        self._build()
        try:
            self._open()
        except BaseException:
            self._isolation.end(LAST_CALLS)
            self._resources.close_within(LAST_CALLS)
            self._lanes.stop()
            self._loop.stop()
            self._loop.join(LAST_CALLS)
            raise
        for part in self._parts:
            part.start()
        self._supervisor = threading.Thread(target=self._supervise, name="jobkit-supervisor", daemon=True)
        self._supervisor.start()
        self.on_change()
        log.info(
            "worker started",
            extra={
                "worker": self.name,
                "queues": list(self.queues),
                "slots": self._slots.total,
                "jobs": len(self._registry),
            },
        )

    def stop(self, *, now: bool = False) -> None:
        """Ask it to end: claim nothing more, let running jobs finish for up to `shutdown_timeout` seconds.

        With `now` they are not waited for. Returns at once; `join` waits.
        """
        if now:
            self._hurry.set()
            self._slots.wake()
        self._requests.put("stop")

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, `timeout` seconds at most; True when it has ended, or was never started."""
        supervisor = self._supervisor
        if supervisor is None:
            return True
        supervisor.join(timeout)
        return not supervisor.is_alive()

    @property
    def failed(self) -> bool:
        """Whether it ended, or is ending, because it could not go on."""
        return self._failed

    @property
    def state(self) -> State:
        """What it does: it starts, claims, waits for a server that is away, or drains."""
        if self._supervisor is None:
            return "starting"
        if self._dispatch.closed:
            return "draining"
        return "claiming" if self._fetcher.heard else "waiting"

    def stop_job(self, job_id: str) -> bool:
        """Stop the running attempt of a job; False when it does not run here."""
        attempts = self._held.of_job(job_id)
        self._watchdog.interrupt(attempts, JobStopped)
        return bool(attempts)

    def stop_all(self) -> None:
        """Stop all running attempts."""
        self._watchdog.interrupt(self._held.all(), JobStopped)

    def _build(self) -> None:
        """Make the parts; they are tied to one another here and nowhere else."""
        crashed, claims = self._crashed, self._claims
        self._pipeline = pipeline = Pipeline(
            queues=self._all_queues,
            make_port=self._port,
            new_job=self._envelopes.new_job,
            vanilla=Vanilla(RqJobs(self._store), self._settings.rq_functions),
        )
        self._dispatch = dispatch = Dispatch(pipeline, claims, self._held, self._capacity, lease=self._settings.lease)
        slots, kind = self._slots.total, self._settings.event_loop
        self._threads = ThreadExecutor(pipeline, slots=slots, on_end=dispatch.ended)
        self._loop = LoopExecutor(pipeline, slots=slots, on_end=dispatch.ended, kind=kind)
        self._watchdog = Watchdog(grace=self._grace, on_give_up=dispatch.give_up, on_crash=crashed)
        self._keeper = LeaseKeeper(
            self._held, claims.renew, lease=self._settings.lease, on_lost=dispatch.lost, on_crash=crashed
        )
        dispatch.threads, dispatch.loop = self._threads, self._loop
        dispatch.processes = self._isolation.build(
            pipeline,
            self._store,
            self._settings,
            self._all_queues,
            self._registry,
            self._container,
            on_end=dispatch.ended,
        )
        dispatch.watchdog, dispatch.keeper = self._watchdog, self._keeper
        pipeline.vanilla.extend = self._watchdog.extend
        dispatch.give_back = GiveBack(dispatch.return_unbegun, on_crash=crashed)
        self._resources = Resources(self._container, self._loop)
        self._fetcher = Fetcher(claims.channel("claim"), self._slots, dispatch, on_crash=crashed)
        self._finisher = Finisher(
            claims,
            self._slots,
            dispatch,
            self._held,
            self._hooks,
            on_freed=self._fetcher.nudge,
            on_stuck=self._stuck,
            on_crash=crashed,
        )
        self._lanes = Lanes(
            claims,
            self._slots,
            dispatch,
            self._finisher,
            self._loop,
            timeout=self._store.socket_timeout,
            late=self._settings.lease / 4,
        )
        self._helpers: list[Part] = [
            self._hooks,
            self._watchdog,
            dispatch.give_back,
            self._keeper,
            Sweeper(self._sweeps.sweep, every=min(EVERY, self._settings.lease / 6), on_crash=crashed),
            Peeker(Peeking(self._store, self.name).peek, on_crash=crashed),
            Heartbeat(lambda busy: self._presence.beat(busy=busy), lambda: len(self._held) > 0, on_crash=crashed),
            CommandListener(self._presence.commands, self, on_crash=crashed),
        ]
        self._parts: list[Part] = [*self._helpers, self._finisher, self._fetcher]

    def _open(self) -> None:
        here = not self._isolation.whole  # where all jobs run in children, these alone open the container
        if here and self._resources.needs_loop:
            self._loop.start()
        routes = Routes(self._registry, self._resources.open() if here else None, called=here)
        self._pipeline.routes = routes
        if here and routes.any_async and not self._resources.needs_loop:
            self._loop.start()
        if here and routes.any_async:
            self._dispatch.lanes = self._lanes
            self._lanes.start()
        self._threads.start()
        self._isolation.start()
        self._sweeps.publish(self._claims.rules)
        enforce(self._sweeps, [self._all_queues.get(name) for name in self._claims.rules], self._settings.revision)
        self._presence.birth()

    def _port(self, attempt: Attempt) -> ClaimPort:
        return StorePort(attempt, self._claims, self._envelopes.new_job)

    def _on_signal(self, number: int, _: object) -> None:
        # A handler may run between any two lines of the main thread, so it takes no lock: SimpleQueue.put needs none,
        # and what needs one is done in a thread.
        first = self._requests.empty() and not self._ready.is_set()
        if first:
            self._ready.set()
            self._requests.put("stop")
        if number == signal.SIGINT if self._supervised else not first:
            threading.Thread(target=self.stop, kwargs={"now": True}, daemon=True).start()

    def _stuck(self) -> None:
        if self._slots.stuck * 2 >= self._slots.total:
            log.critical(
                "half of the slots are held by attempts that do not end: the worker ends",
                extra={"stuck": self._slots.stuck, "slots": self._slots.total},
            )
            self._requests.put("fail")

    def _crashed(self, part: str) -> None:
        log.critical("the worker ends: a part of it crashed", extra={"part": part})
        self._requests.put("fail")

    def _supervise(self) -> None:
        """Wait for the reason to end, then end: running jobs first, what they need after them."""
        self._failed = self._requests.get() == "fail"
        deadline = time.monotonic() + self._settings.shutdown_timeout
        self._end_by = deadline + OVERTIME
        self._dispatch.close()
        log.info("stopping: finishing what runs", extra={"worker": self.name, "slots": self._slots.busy()})
        self.on_change()
        self._dispatch.return_unbegun()
        self._fetcher.stop()
        self._slots.wait_idle(self._settings.shutdown_timeout, until=self._hurry.is_set)
        left = [attempt for attempt in self._held.all() if attempt.withdraw()]  # nothing of these is recorded any more
        self._lanes.drain()
        self._finisher.stop()
        self._finisher.join(max(LAST_CALLS, deadline - time.monotonic()) if not self._hurry.is_set() else LAST_CALLS)
        self._close(left)
        put_back(left, self._claims, own_process=self._own_process)

    def _close(self, left: list[Attempt]) -> None:
        self._threads.stop()
        self._isolation.end(LAST_CALLS)
        stray = [attempt for attempt in left if not attempt.is_async and not attempt.over]
        if not stray and self._slots.stuck == 0:
            self._threads.join(LAST_CALLS)
        for part in self._helpers:
            part.stop()
        end = time.monotonic() + LAST_CALLS
        for part in (self._fetcher, *self._helpers):
            part.join(max(0.0, end - time.monotonic()))
        self._lanes.stop()
        self._loop.cancel()
        self._resources.close_within(LAST_CALLS)
        self._pipeline.vanilla.close()
        self._loop.stop()
        ended = self._loop.join(LAST_CALLS)
        self._leftover = bool(stray) or self._slots.stuck > 0 or not ended or self._loop.has_strays()
        try:
            self._presence.death()
        except JobkitError as error:
            log.warning("could not unregister; the registration runs out by itself", extra={"error": str(error)})
