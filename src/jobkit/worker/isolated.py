"""The child's side of process isolation: one process that runs one job at a time, through the worker's own pipeline."""

from __future__ import annotations

import os
import pickle
import queue
from typing import TYPE_CHECKING, Any

from jobkit.envelopes import Envelopes
from jobkit.store import Store
from jobkit.store.claims import Claims
from jobkit.store.rq_jobs import RqJobs
from jobkit.worker.answers import Answer, Ready, Refused, bare, pack_error, pack_follow_ups
from jobkit.worker.attempt import Pipeline
from jobkit.worker.fence import ThreadFence
from jobkit.worker.leash import put_on
from jobkit.worker.logs import configure_logging
from jobkit.worker.loop_executor import LoopExecutor
from jobkit.worker.memory import own_peak
from jobkit.worker.outcomes import Completed, Failed
from jobkit.worker.port import StorePort
from jobkit.worker.resources import Resources
from jobkit.worker.routes import Routes
from jobkit.worker.rules import rules_of
from jobkit.worker.signals import taken
from jobkit.worker.tracebacks import error_text
from jobkit.worker.vanilla import Vanilla

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from jobkit.store.records import Claimed
    from jobkit.worker.attempt import Attempt
    from jobkit.worker.bundle import Bundle
    from jobkit.worker.outcomes import Outcome


def serve(channel: Connection, leash: Connection, packed: bytes) -> None:
    """Run what comes through the channel until it is closed."""
    # A group of its own: killing it ends the programs that a job has started, too.
    os.setpgid(0, 0)
    put_on(leash)
    # A copy held by what a job forks would keep the worker waiting after this process has died.
    os.register_at_fork(after_in_child=channel.close)
    # A service manager may send SIGTERM to every process of a service; the worker decides when this one ends. Handlers,
    # since what is ignored would stay ignored in the programs that a job starts.
    with taken(_leave_it_to_the_worker):
        _serve(channel, packed)


def _serve(channel: Connection, packed: bytes) -> None:
    try:
        inside = Inside(pickle.loads(packed))  # noqa: S301 - the worker's own
    except BaseException as error:  # noqa: BLE001 - the worker says it
        channel.send_bytes(pickle.dumps(Refused(error_text(error), pack_error(error))))
        return
    try:
        channel.send_bytes(pickle.dumps(Ready(own_peak())))
        while True:
            answer = inside.run(pickle.loads(channel.recv_bytes()))  # noqa: S301 - as above
            channel.send_bytes(pickle.dumps(answer))
    except (EOFError, ConnectionError):
        pass  # the worker needs it no more
    finally:
        inside.close()


class Inside:
    """A worker's insides in a child: its processors, its container, its way to Redis. Made once, used for many jobs."""

    def __init__(self, bundle: Bundle) -> None:
        configure_logging(bundle.settings)
        specs = bundle.open_queues()
        envelopes = Envelopes(specs, bundle.settings.max_payload)
        # It connects when a job first needs it.
        store = Store.open(bundle.url, socket_timeout=bundle.socket_timeout)
        rules = {spec.name: rules_of(spec) for spec in specs}
        claims = Claims(store, bundle.worker, rules, bundle.settings.lease)
        self._store = store
        self._hooks = bundle.hooks
        self._ends: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._pipeline = Pipeline(
            queues=specs,
            make_port=lambda attempt: StorePort(attempt, claims, envelopes.new_job),
            new_job=envelopes.new_job,
            vanilla=Vanilla(RqJobs(store), bundle.settings.rq_functions),
        )
        self._loop = LoopExecutor(self._pipeline, slots=1, on_end=self._ended, kind=bundle.settings.event_loop)
        self._resources = Resources(bundle.open_container(), self._loop)
        if self._resources.needs_loop:
            self._loop.start()
        self._pipeline.routes = routes = Routes(bundle.open_registry(), self._resources.open())
        if routes.any_async and not self._resources.needs_loop:
            self._loop.start()

    def run(self, claimed: Claimed) -> Answer:
        """One attempt."""
        attempt = self._pipeline.read(claimed)
        outcome = attempt.outcome or self._run(attempt)
        raised = pack_error(outcome.raised) if isinstance(outcome, Failed) and outcome.raised else None
        result = attempt.result if self._hooks and isinstance(outcome, Completed) else None
        then = pack_follow_ups(result.then) if result is not None else None
        return Answer(bare(outcome), raised, then, attempt.started, attempt.ended, own_peak())

    def close(self) -> None:
        """Close what was opened, as the worker does at its end."""
        self._loop.cancel()
        try:
            self._resources.close()
        finally:
            self._loop.stop()
            self._pipeline.vanilla.close()
            self._store.close()

    def _run(self, attempt: Attempt) -> Outcome:
        if not attempt.is_async:
            attempt.fence = ThreadFence()
            return self._pipeline.run(attempt)
        attempt.fence = self._loop.fence()
        self._loop.submit([attempt])
        return self._ends.get()

    def _ended(self, _: Attempt, outcome: Outcome) -> None:
        self._ends.put(outcome)


def _leave_it_to_the_worker(*_: Any) -> None:
    """Nothing: see `serve`."""
