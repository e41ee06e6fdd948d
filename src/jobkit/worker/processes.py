"""Where attempts of a process-isolated queue run: a child process a slot, kept warm, replaced when it is due or dies.

Each child has a pipe of its own. What kills one, at whatever moment, can tear no other's: that is why this is no pool
whose children share a pipe and a lock.
"""

from __future__ import annotations

import atexit
import logging
import pickle
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.errors import JobkitError, JobTimeout, ProcessDied
from jobkit.processing import load_result
from jobkit.results import JobResult
from jobkit.worker.answers import Answer, open_error
from jobkit.worker.memory import told
from jobkit.worker.outcomes import Completed, Dropped, Failed, Snoozed
from jobkit.worker.process import HARD, JobProcess, NotStarted, Nursery
from jobkit.worker.verdicts import next_delay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobkit.errors import Interruption
    from jobkit.queues import QueueSpec
    from jobkit.worker.attempt import Attempt, Pipeline
    from jobkit.worker.bundle import Bundle
    from jobkit.worker.executors import OnEnd
    from jobkit.worker.fence import Fence
    from jobkit.worker.outcomes import Outcome

log = logging.getLogger("jobkit.worker")

NOT_STARTED_WAITS: Final = 5.0
"""Seconds that a job is put off when no child process could be started for it: it is not the job's fault."""


class ProcessFence:
    """The fence of an attempt that runs in a child process: an interruption kills the child, and never its next job."""

    __slots__ = ("_gate", "_process", "why")

    def __init__(self) -> None:
        self.why: type[Interruption] | None = None
        self._gate = threading.Lock()
        self._process: JobProcess | None = None

    def begin(self, process: JobProcess) -> None:
        """This child runs the attempt now."""
        self._process = process

    def interrupt(self, why: type[Interruption]) -> bool:
        """Kill the child; False when the attempt has not begun, or has ended."""
        with self._gate:
            process, self._process = self._process, None
            if process is None:
                return False
            self.why = why
            process.kill()
        return True

    def end(self) -> type[Interruption] | None:
        """The attempt is over; the interruption that came first, if one did."""
        with self._gate:
            self._process = None
            return self.why


class ProcessExecutor:
    """One queue's children. A thread a slot, made when first needed, gives attempts to the child that it keeps."""

    def __init__(self, pipeline: Pipeline, spec: QueueSpec, bundle: Bundle, nursery: Nursery, *, on_end: OnEnd) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self._packed = pickle.dumps(bundle)
        self._hooks = bundle.hooks
        self._nursery = nursery
        self._on_end = on_end
        self._inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._processes: set[JobProcess] = set()
        self._spare: list[JobProcess] = []
        self._numbers = 0
        self._load = 0
        self._stopped = False

    def start(self) -> None:
        """Start the first child, so that what is wrong with all of them is told here; raises what it raised.

        The others come with the first jobs.
        """
        # Before multiprocessing's own end, which would wait for the children.
        atexit.register(self.kill)
        try:
            process = self._new()
        except NotStarted as error:
            if error.cause is not None:
                raise error.cause from error
            raise
        self._spare.append(process)

    def fence(self) -> Fence:
        """A fence for an attempt that is to run in a child."""
        return ProcessFence()

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Begin these, each in a child of its own."""
        with self._gate:
            self._load += len(attempts)
            while len(self._threads) < min(self._load, self._spec.concurrency) and not self._stopped:
                self._spawn()
        for attempt in attempts:
            self._inbox.put(attempt)

    def stop(self) -> None:
        """Begin nothing more; children end when their attempt does."""
        with self._gate:
            self._stopped = True
            for _ in self._threads:
                self._inbox.put(None)
            spare, self._spare = self._spare, []
        for process in spare:
            self._dismiss(process)

    def kill(self, *, idle: bool = True) -> None:
        """End every child at once, whatever it runs; with `idle=False` those that have something in hand."""
        with self._gate:
            self._stopped = True
            processes = [each for each in self._processes if idle or each.busy]
        for process in processes:
            process.kill()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for all children, `timeout` seconds at most; True when all have ended."""
        atexit.unregister(self.kill)
        end = None if timeout is None else time.monotonic() + timeout
        with self._gate:
            threads = list(self._threads)
        for thread in threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _spawn(self) -> None:
        self._numbers += 1
        thread = threading.Thread(target=self._main, name=f"jobkit-{self._spec.name}-{self._numbers}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _main(self) -> None:
        process: JobProcess | None = None
        following: Attempt | None = None
        while True:
            attempt = following or self._inbox.get()
            if attempt is None:
                break
            process, outcome = self._attend(process, attempt)
            attempt.over = True
            # First: the next job is to find this child free, not to have another started.
            self._count(-1)
            following = self._on_end(attempt, outcome)
            if following is not None:
                self._count(1)
            del attempt, outcome  # a waiting thread holds no job
            if process is not None and self._due(process):
                self._dismiss(process)
                process = None
        if process is not None:
            self._dismiss(process)
        with self._gate:
            self._threads.discard(threading.current_thread())

    def _count(self, change: int) -> None:
        with self._gate:
            self._load += change

    def _attend(self, process: JobProcess | None, attempt: Attempt) -> tuple[JobProcess | None, Outcome]:
        """Run the attempt in the child, or in a new one; the child if it can run another, and the outcome."""
        while attempt.undecided:
            if process is None:
                try:
                    process = self._had() or self._new()
                except NotStarted as error:
                    return None, self._not_started(error)
            elif (done := self._run(process, attempt)) is not None:
                return done
            else:
                log.warning("a child process had died while it had no job", extra=self._fields(process))
                self._bury(process)
                process = None
        return process, Dropped("its claim was lost before it began")

    def _run(self, process: JobProcess, attempt: Attempt) -> tuple[JobProcess | None, Outcome] | None:
        """The same, of this child; None when it had died before, and has begun nothing."""
        fence = attempt.fence
        if not isinstance(fence, ProcessFence):
            raise TypeError(f"expected an attempt that runs in a child process, got the fence {fence!r}")
        attempt.began, attempt.started = time.monotonic(), time.time()
        # From here on, since a child that hangs does not even take what it is given.
        fence.begin(process)
        given = process.give(attempt.claimed)
        answer = process.answer() if given else None
        why = fence.end()
        if not given and why is None:
            return None
        if answer is None:
            attempt.ended = time.time()
        else:
            attempt.started, attempt.ended = answer.started, answer.ended
        if answer is None or why is not None:
            self._bury(process)
            kept = None
        else:
            kept = process
        if answer is None:
            outcome = self._pipeline.judge(attempt, self._cause(process, why))
        else:
            outcome = self._outcome(attempt, answer)
        if self._hooks and attempt.route is not None:
            self._inform(attempt, outcome, None if answer is None else answer.then)
        return kept, outcome

    def _cause(self, process: JobProcess, why: type[Interruption] | None) -> BaseException:
        if why is JobTimeout:
            return why(f"its process was killed; its peak memory was {told(process.peak)}")
        if why is not None:
            return why()
        if process.overgrown and self._spec.max_memory is not None:
            return ProcessDied(
                f"the job's process was killed: its memory passed {HARD} times the queue's max_memory of "
                f"{told(self._spec.max_memory)}; its peak memory was {told(process.peak)}"
            )
        return ProcessDied(f"the job's process {process.ending()}")

    def _outcome(self, attempt: Attempt, answer: Answer) -> Outcome:
        outcome = answer.outcome
        if isinstance(outcome, Failed):
            # A queue's function for its waits is here.
            delay = outcome.delay
            if delay is not None and not outcome.asked:
                delay = next_delay(self._pipeline.budget(attempt))
            outcome = attrs.evolve(outcome, delay=delay, raised=open_error(answer.raised, outcome.error))
        return outcome

    def _inform(self, attempt: Attempt, outcome: Outcome, then: bytes | None) -> None:
        """Make the job and its result again, for the hooks."""
        try:
            if isinstance(outcome, Completed):
                route = self._pipeline.routed(attempt)
                value = load_result(route.payload, outcome.value)
                attempt.result = JobResult.completed(value, then=pickle.loads(then) if then else ())  # noqa: S301 - our own child
            if isinstance(outcome, Completed | Failed):
                attempt.job = self._pipeline.make_job(attempt)
        except JobkitError as error:  # it was corrupt: as elsewhere, no hook is called
            log.debug("no job for the hooks", extra={**attempt.log_fields(), "error": str(error)})
        except Exception:
            log.exception("the job cannot be given to the hooks", extra=attempt.log_fields())

    def _had(self) -> JobProcess | None:
        with self._gate:
            return self._spare.pop() if self._spare else None

    def _new(self) -> JobProcess:
        try:
            process = JobProcess(self._nursery, self._packed, max_memory=self._spec.max_memory)
        except (OSError, EOFError) as error:  # no memory, no descriptors, no fork server
            raise NotStarted(f"a child process could not be started: {error!r}") from error
        with self._gate:
            self._processes.add(process)
            late = self._stopped
        if late:
            process.kill()
        try:
            process.await_ready()
        except BaseException:
            with self._gate:
                self._processes.discard(process)
            raise
        log.debug("child process started", extra=self._fields(process))
        return process

    def _due(self, process: JobProcess) -> bool:
        limit, peak = self._spec.max_memory, process.peak
        grown = limit is not None and peak is not None and peak > limit
        if grown:
            log.info("replacing a child process: its memory passed max_memory", extra=self._fields(process))
        return grown or process.jobs >= self._spec.max_jobs

    def _dismiss(self, process: JobProcess) -> None:
        process.leave()
        self._forget(process)

    def _bury(self, process: JobProcess) -> None:
        process.discard()
        self._forget(process)

    def _forget(self, process: JobProcess) -> None:
        with self._gate:
            self._processes.discard(process)

    def _not_started(self, error: NotStarted) -> Outcome:
        log.error("no child process for a job", extra={"queue": self._spec.name, "error": str(error)})
        return Snoozed(NOT_STARTED_WAITS, f"its process could not be started: {error}")

    def _fields(self, process: JobProcess) -> dict[str, Any]:
        return {
            "queue": self._spec.name,
            "child_pid": process.pid,
            "jobs": process.jobs,
            "peak_memory": process.peak,
        }
