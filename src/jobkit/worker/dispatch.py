"""From a claimed batch to running attempts, and back to the finisher."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Final

import attrs

from jobkit.errors import JobkitError, JobStopped, LostClaim
from jobkit.worker.ahead import Pace
from jobkit.worker.attempt import Attempt
from jobkit.worker.outcomes import Ended, Failed, Snoozed
from jobkit.worker.permits import Permits
from jobkit.worker.tracebacks import clip
from jobkit.worker.verdicts import next_delay
from jobkit.worker.watchdog import stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jobkit.store.channel import ClaimChannel
    from jobkit.store.claims import Claims
    from jobkit.store.records import Batch, Claimed
    from jobkit.worker.ahead import GiveBack
    from jobkit.worker.attempt import Pipeline
    from jobkit.worker.executors import Executor
    from jobkit.worker.held import Held
    from jobkit.worker.lanes import Lanes
    from jobkit.worker.lease import LeaseKeeper
    from jobkit.worker.outcomes import Outcome
    from jobkit.worker.thread_executor import ThreadExecutor
    from jobkit.worker.watchdog import Watchdog

log = logging.getLogger("jobkit.worker")

SUSPECT_REASON: Final = "its worker died before; another such job runs here, and they run one at a time"
SUSPECT_WAITS: Final = (0.05, 1.0)
"""Seconds until a job whose worker died is offered again, while another such job runs here (the next death shall tell
which of them was to blame): as long as that one has run by then, within these bounds. So the short jobs of a worker
that died are soon all through, and a long one is not asked after all the time."""


@attrs.frozen(slots=True)
class GivenUp:
    """An attempt that does not end: its failure is to be recorded (unless its claim was lost), its slot stays taken."""

    attempt: Attempt
    outcome: Outcome | None


@attrs.frozen(slots=True)
class Freed:
    """An attempt ended after its verdict had been taken: only its slot is news."""

    attempt: Attempt


@attrs.frozen
class Brought:
    """What a call brought and nobody has begun yet; its slots are taken until then. No batch: nothing could be sent."""

    asked: float
    wants: Mapping[str, int]
    finished: Sequence[Attempt]
    batch: Batch | None


@attrs.frozen
class Unanswered:
    """A lane's call whose answer did not come, with what it finished and claimed for; `reopen` is called in the end."""

    channel: ClaimChannel
    asked: float
    wants: Mapping[str, int]
    finished: Sequence[Attempt]
    reopen: Callable[[], None]


@attrs.frozen(slots=True)
class Look:
    """Attempts were submitted that no thread may have begun: see to them."""


@attrs.frozen(slots=True)
class Unheard:
    """A slot is free for which the claim that is under way does not listen: bring it back."""


Ending = Attempt | GivenUp | Freed | Brought | Unanswered | Unheard


class Dispatch:
    """Hands claimed jobs to the executors. Its outbox carries every attempt back, for the finisher to record."""

    def __init__(
        self, pipeline: Pipeline, claims: Claims, held: Held, capacity: Mapping[str, int], *, lease: float
    ) -> None:
        self.outbox: queue.SimpleQueue[Ending | Look | None] = queue.SimpleQueue()
        self.threads: ThreadExecutor
        self.loop: Executor
        self.processes: Mapping[str, Executor] = {}
        self.watchdog: Watchdog
        self.keeper: LeaseKeeper
        self.give_back: GiveBack
        self.lanes: Lanes | None = None
        self.pace = Pace(capacity)
        self._permits = Permits(capacity)
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

    def hand_out(self, claimed: Sequence[Claimed], *, asked: float) -> Mapping[str, int]:
        """Begin these attempts; the number of busy slots of each queue.

        `asked` is the monotonic time of the call that claimed them: an answer that took long (an outage, a stopped
        process) is checked against the leases before anything runs.
        """
        if not claimed:
            return {}
        if self.closed:
            self._return(claimed)
            return {}
        if time.monotonic() - asked > self._lease / 3:
            claimed = self._still_ours(claimed)
        attempts = [self._read(each) for each in claimed]
        self._held.add(attempts)
        ready: list[Attempt] = []
        for attempt in attempts:
            if attempt.outcome is None:
                attempt.fence = self._executor(attempt).fence()
                ready.append(attempt)
            else:  # decided by reading it: parked, corrupt, unknown
                attempt.over = True
                self.outbox.put(attempt)
        now, later = self._permits.admit(ready)
        self._start(now)
        if later:
            self.give_back.watch(later)
            if self._closed.is_set():  # since the look above
                self.return_unbegun()
        self.watchdog.watch(ready)
        return tally(claimed)

    def ended(self, attempt: Attempt, outcome: Outcome) -> Attempt | None:
        """An executor's attempt is over; called in the thread that ran it. The one to run next in its place."""
        executor = self._executor(attempt)
        if not attempt.decide(outcome):
            self.outbox.put(Freed(attempt))
        elif self.lanes is None or executor is not self.loop or not self.lanes.take(attempt):
            self.outbox.put(attempt)
        following = self._permits.pass_on(attempt.claimed.queue)
        if following is not None and self._executor(following) is not executor:
            self._start([following])
            self.look()
            return None
        return following

    def look(self) -> None:
        """Have the finisher see to what no thread has begun, if there is any."""
        if self.threads.waiting:
            self.outbox.put(Look())

    def return_unbegun(self, attempts: Sequence[Attempt] | None = None) -> None:
        """Put back those of the attempts (None: all) that still wait for a permit: others may run them at once."""
        if attempts is None:
            waiting = self._permits.close()
        else:
            waiting = self._permits.take_back(attempts)
            for queue_name in {each.claimed.queue for each in waiting}:
                self.pace.slow(queue_name)
        mine = [each for each in waiting if each.withdraw()]
        self._return([each.claimed for each in mine])
        self._held.forget(each.claimed.token for each in mine)
        for each in waiting:
            each.over = True
            self.outbox.put(Freed(each))

    def give_up(self, attempt: Attempt) -> None:
        """An interruption did not land: record the end now, let the thread go on without a claim."""
        why = attempt.fence.why
        where = stack_of(attempt.ident)
        text = clip(
            f"{where}{why.__name__ if why else 'Interruption'}: it was sent, but the attempt went on, so it was given "
            "up. The stack above is where it was then. Its slot stays taken until it ends."
        )
        attempt.ended = time.time()
        outcome: Outcome = Failed(text, next_delay(self._pipeline.budget(attempt)), why() if why else None)
        if why is JobStopped:
            outcome = Ended("stopped", "stopped while it ran, and given up because it went on")
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
        if not claimed.rescues:
            return self._pipeline.read(claimed)
        with self._gate:
            before = self._suspect
            # Its end has to be recorded, too: the next suspect's death would be put down to both.
            if before is None or (before.over and before.claimed.token not in self._held):
                self._try_out(claimed)  # before it is read: that may be what ends the process
                self._suspect = self._pipeline.read(claimed)
                return self._suspect
        attempt = Attempt(claimed)
        attempt.started = attempt.ended = time.time()
        attempt.decide(Snoozed(_patience(before), SUSPECT_REASON))
        return attempt

    def _try_out(self, claimed: Claimed) -> None:
        try:
            self._claims.try_out(claimed)
        except JobkitError:
            log.warning(
                "a suspect runs unmarked: if it ends this worker, that is not counted", extra={"job_id": claimed.id}
            )

    def _still_ours(self, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        try:
            lost = self._claims.renew(claimed)
        except JobkitError:
            # Without an answer nothing may start: the leases run out and the jobs are rescued.
            log.warning("claimed jobs came late and cannot be checked; left to rescue", extra={"jobs": len(claimed)})
            return ()
        if lost:
            log.warning("claimed jobs came too late to start", extra={"jobs": len(lost)})
        return [each for each in claimed if each.token not in lost]

    def _start(self, attempts: Sequence[Attempt]) -> None:
        parts: dict[int, tuple[Executor, list[Attempt]]] = {}
        for each in attempts:
            executor = self._executor(each)
            parts.setdefault(id(executor), (executor, []))[1].append(each)
        for executor, part in parts.values():
            executor.submit(part)

    def _executor(self, attempt: Attempt) -> Executor:
        """Where it runs: as its queue says, else as its processor does."""
        executor = self.processes.get(attempt.claimed.queue) if self.processes else None
        return executor or (self.loop if attempt.is_async else self.threads)

    def _return(self, claimed: Sequence[Claimed]) -> None:
        if not claimed:
            return
        try:
            self._claims.put_back(claimed)
        except JobkitError as error:
            log.warning("jobs that did not begin are left to rescue", extra={"jobs": len(claimed), "error": str(error)})


def tally(claims: Iterable[Claimed]) -> dict[str, int]:
    """How many there are of each queue. A Counter takes nearly twice as long, and so does its arithmetic."""
    counts: dict[str, int] = {}
    for each in claims:
        counts[each.queue] = counts.get(each.queue, 0) + 1
    return counts


def _patience(suspect: Attempt) -> float:
    least, most = SUSPECT_WAITS
    ran = 0.0 if suspect.began is None else time.monotonic() - suspect.began
    return min(most, max(least, ran))
