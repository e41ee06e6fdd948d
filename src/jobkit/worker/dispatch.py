"""From a claimed batch to running attempts, and back to the finisher."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from jobkit.errors import LostClaim, StoreFull, StoreUnavailable
from jobkit.worker.attempt import Attempt
from jobkit.worker.outcomes import Failed, Snoozed
from jobkit.worker.tracebacks import clip
from jobkit.worker.verdicts import next_delay
from jobkit.worker.watchdog import stack_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobkit.store.claims import Claims
    from jobkit.store.records import Claimed
    from jobkit.worker.attempt import Pipeline
    from jobkit.worker.executors import Executor
    from jobkit.worker.held import Held
    from jobkit.worker.lease import LeaseKeeper
    from jobkit.worker.outcomes import Outcome
    from jobkit.worker.watchdog import Watchdog

log = logging.getLogger("jobkit.worker")

SUSPECT_REASON: Final = "its worker died before; another such job runs here, and they run one at a time"
SUSPECT_WAITS: Final = 1.0
"""Seconds until a job whose worker died is offered again, while another such job runs here: the next death shall tell
which of them was to blame."""


@attrs.frozen(slots=True)
class GivenUp:
    """An attempt that does not end: its failure is to be recorded (unless its claim was lost), its slot stays taken."""

    attempt: Attempt
    outcome: Failed | None


@attrs.frozen(slots=True)
class Freed:
    """An attempt ended after its verdict had been taken: only its slot is news."""

    attempt: Attempt


Ending = Attempt | GivenUp | Freed


class Dispatch:
    """Hands claimed jobs to the executors. Its outbox carries every attempt back, for the finisher to record."""

    def __init__(self, pipeline: Pipeline, claims: Claims, held: Held, *, lease: float) -> None:
        self.outbox: queue.SimpleQueue[Ending | None] = queue.SimpleQueue()
        self.threads: Executor
        self.loop: Executor
        self.watchdog: Watchdog
        self.keeper: LeaseKeeper
        self._pipeline = pipeline
        self._claims = claims
        self._held = held
        self._lease = lease
        self._closed = threading.Event()
        self._gate = threading.Lock()
        self._suspect: Attempt | None = None

    @property
    def closed(self) -> bool:
        """Whether the worker begins nothing any more."""
        return self._closed.is_set()

    def close(self) -> None:
        """Begin nothing any more: what is claimed from here on is put back."""
        self._closed.set()

    def hand_out(self, claimed: Sequence[Claimed], *, asked: float) -> Counter[str]:
        """Begin these attempts; the number of busy slots of each queue.

        `asked` is the monotonic time of the call that claimed them: an answer that took long (an outage, a stopped
        process) is checked against the leases before anything runs.
        """
        if not claimed:
            return Counter()
        if self.closed:
            self._return(claimed)
            return Counter()
        if time.monotonic() - asked > self._lease / 3:
            claimed = self._still_ours(claimed)
        attempts = [self._read(each) for each in claimed]
        self._held.add(attempts)
        in_threads = [a for a in attempts if not a.is_async and a.outcome is None]
        on_loop = [a for a in attempts if a.is_async and a.outcome is None]
        for attempt in attempts:
            if attempt.outcome is not None:  # decided by reading it: parked, corrupt, unknown
                attempt.over = True
                self.outbox.put(attempt)
        if in_threads:
            self.threads.submit(in_threads)
        if on_loop:
            self.loop.submit(on_loop)
        self.watchdog.watch(in_threads)
        self.watchdog.watch(on_loop)
        return Counter(each.queue for each in claimed)

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """An executor's attempt is over; called in the thread that ran it."""
        if attempt.decide(outcome):
            self.outbox.put(attempt)
        else:
            self.outbox.put(Freed(attempt))

    def give_up(self, attempt: Attempt) -> None:
        """An interruption did not land: record the failure now, let the thread go on without a claim."""
        why = attempt.fence.why
        where = stack_of(attempt.ident)
        text = clip(
            f"{where}{why.__name__ if why else 'Interruption'}: it was sent, but the attempt went on, so it was given "
            "up. The stack above is where it was then. Its slot stays taken until it ends."
        )
        outcome = Failed(text, next_delay(self._pipeline.budget(attempt)), why() if why else None)
        if attempt.decide(outcome):
            self.outbox.put(GivenUp(attempt, outcome))
        else:
            self.outbox.put(GivenUp(attempt, None))

    def lost(self, attempts: Sequence[Attempt]) -> None:
        """Their claims are gone (and forgotten): whatever they do is not recorded, so they are ended."""
        for attempt in attempts:
            attempt.dropped = True
            if attempt.withdraw():
                log.warning("lost the claim of a running job; ending the attempt", extra=attempt.log_fields())
        self.watchdog.interrupt(attempts, LostClaim)

    def _read(self, claimed: Claimed) -> Attempt:
        attempt = self._pipeline.read(claimed)
        if claimed.rescues and attempt.outcome is None:
            with self._gate:
                if self._suspect is None or self._suspect.over:
                    self._suspect = attempt
                else:
                    attempt.started = attempt.ended = time.time()
                    attempt.decide(
                        Snoozed(SUSPECT_WAITS, "its worker died before; another such job runs here, one at a time")
                    )
        return attempt

    def _still_ours(self, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        try:
            lost = self._claims.renew(claimed)
        except (StoreUnavailable, StoreFull):
            # Without an answer nothing may start: the leases run out and the jobs are rescued.
            log.warning("claimed jobs came late and cannot be checked; left to rescue", extra={"jobs": len(claimed)})
            return ()
        if lost:
            log.warning("claimed jobs came too late to start", extra={"jobs": len(lost)})
        return [each for each in claimed if each.token not in lost]

    def _return(self, claimed: Sequence[Claimed]) -> None:
        try:
            self._claims.put_back(claimed)
        except (StoreUnavailable, StoreFull):
            log.warning("jobs claimed while stopping are left to rescue", extra={"jobs": len(claimed)})
