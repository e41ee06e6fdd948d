"""Records how attempts ended and claims for the slots they free: with the fetcher, all that moves jobs."""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from jobkit.errors import StoreFull, StoreUnavailable
from jobkit.store.records import Finished
from jobkit.worker.attempt import Attempt
from jobkit.worker.dispatch import Brought, Freed, GivenUp, Look, Unanswered, Unheard
from jobkit.worker.outcomes import Completed, Dropped, Ended, Failed, Snoozed
from jobkit.worker.parts import Part
from jobkit.worker.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobkit.store.claims import Claims
    from jobkit.store.records import Batch
    from jobkit.worker.dispatch import Dispatch, Ending
    from jobkit.worker.held import Held
    from jobkit.worker.hooks import Hooks
    from jobkit.worker.outcomes import Outcome
    from jobkit.worker.slots import Slots

log = logging.getLogger("jobkit.worker")

BATCH: Final = 500
"""Attempts that one call finishes at most."""
SMALL: Final = 4
"""Attempts that one call finishes if they are there, however few slots there are."""
SLOW: Final = 1.0
"""Seconds from which a job's end is worth a line at the level info."""


@attrs.define
class _Pending:
    """What one round of the finisher has to record, and the slots that it frees."""

    finished: list[Attempt] = attrs.field(factory=list)
    others: list[tuple[Attempt, Outcome]] = attrs.field(factory=list)
    freed: Counter[str] = attrs.field(factory=Counter)
    last: bool = False


class Finisher(Part):
    """Records how attempts ended and claims for the slots they free, in one call a batch.

    An outcome that cannot be recorded is kept, and tried again until it is or its claim is lost. `stop()` lets it
    record what it was given before; the server being away then, it tries once more and leaves the rest to rescue.
    """

    def __init__(
        self,
        claims: Claims,
        slots: Slots,
        dispatch: Dispatch,
        held: Held,
        hooks: Hooks,
        *,
        on_freed: Callable[[], None],
        on_stuck: Callable[[], None],
        on_crash: Callable[[str], None],
    ) -> None:
        super().__init__("finisher", on_crash=on_crash)
        self._claims = claims
        self._channel = claims.channel("advance")
        self._slots = slots
        self._dispatch = dispatch
        self._held = held
        self._hooks = hooks
        self._on_freed = on_freed
        self._on_stuck = on_stuck
        self._patience = Patience()
        self._stuck: set[int] = set()
        self._brought: Brought | None = None
        # Half of what is held at most (as many again may be claimed ahead): the other half runs meanwhile.
        self._most = min(BATCH, max(SMALL, slots.total))

    def _wake(self) -> None:
        self._dispatch.outbox.put(None)

    def _body(self) -> None:
        try:
            last = False
            while not last:
                if self._brought is not None and self._dispatch.outbox.empty():
                    self._hand_out()  # nothing to send first
                pending = self._gather()
                last = pending.last
                for attempt, outcome in pending.others:
                    self._record(attempt, outcome)
                if pending.finished or pending.freed:
                    self._advance(pending)
            self._hand_out()
        finally:
            self._channel.close()

    def _gather(self) -> _Pending:
        """Everything that is there; waits for the first."""
        pending = _Pending()
        get = self._dispatch.outbox.get_nowait
        entry: Ending | Look | None = self._first()
        try:
            while True:
                self._sort(entry, pending)
                if len(pending.finished) >= self._most:
                    break
                entry = get()
        except queue.Empty:
            pass
        return pending

    def _first(self) -> Ending | None:
        """The next entry; meanwhile, what was submitted and not begun is seen to."""
        outbox, threads = self._dispatch.outbox, self._dispatch.threads
        while True:
            try:
                entry = outbox.get(timeout=threads.look())
            except queue.Empty:
                continue
            if not isinstance(entry, Look):
                return entry

    def _sort(self, entry: Ending | Look | None, pending: _Pending) -> None:
        if isinstance(entry, Attempt):
            pending.freed[entry.claimed.queue] += 1
            outcome = entry.outcome
            if isinstance(outcome, Completed):
                pending.finished.append(entry)
            elif outcome is not None:
                pending.others.append((entry, outcome))
        elif isinstance(entry, GivenUp):
            if entry.outcome is not None:
                pending.others.append((entry.attempt, entry.outcome))
            if not entry.attempt.over:
                self._stuck.add(id(entry.attempt))
                self._slots.mark_stuck(1)
                log.error("an attempt does not end; its slot stays taken", extra=entry.attempt.log_fields())
                self._on_stuck()
        elif isinstance(entry, Freed):
            if id(entry.attempt) in self._stuck:
                self._stuck.discard(id(entry.attempt))
                self._slots.mark_stuck(-1)
                log.warning("a given-up attempt has ended; its slot is free", extra=entry.attempt.log_fields())
            pending.freed[entry.attempt.claimed.queue] += 1
        else:
            self._take_over(entry, pending)

    def _take_over(self, entry: Brought | Unanswered | Unheard | Look | None, pending: _Pending) -> None:
        if isinstance(entry, Brought):
            self._begin(entry, self._on_freed)
        elif isinstance(entry, Unanswered):
            self._settle(entry)
        elif isinstance(entry, Unheard):
            self._on_freed()
        elif entry is None:
            pending.last = True

    def _advance(self, pending: _Pending) -> None:
        asked = time.monotonic()
        wants = self._slots.reuse(pending.freed, self._dispatch.pace.ahead())
        batch = self._finish_and_claim(pending, wants)
        self._hand_out()  # where nothing could be sent
        if batch is not None:
            self._dispatch.pace.record(pending.freed, asked, time.monotonic())
        self._brought = Brought(asked, wants, pending.finished, batch)

    def _hand_out(self) -> None:
        """Begin what the last call brought: while the next one is under way, or at once when there is none to send."""
        brought, self._brought = self._brought, None
        if brought is not None:
            self._begin(brought, self._on_freed)

    def _meanwhile(self) -> None:
        """Hand out while a call is under way: what fails in that says nothing of the call."""
        self._or_end(self._hand_out)

    def begin(self, brought: Brought) -> None:
        """Begin what a lane's call brought, and tell how what it finished ended; on the loop, where nobody waits."""
        self._or_end(lambda: self._begin(brought, lambda: self._dispatch.outbox.put(Unheard())))

    def _or_end(self, hand_out: Callable[[], None]) -> None:
        try:
            hand_out()
        except Exception:
            log.exception("claimed jobs cannot begin")
            self._on_crash(self.name)

    def _begin(self, brought: Brought, unheard: Callable[[], None]) -> None:
        begun: Mapping[str, int] = {}
        if brought.batch is not None:
            self._held.forget([a.claimed.token for a in brought.finished])
            begun = self._dispatch.hand_out(brought.batch.claimed, asked=brought.asked)
            self._told(brought.finished, brought.batch.lost)
        rest = {queue: n - begun.get(queue, 0) for queue, n in brought.wants.items() if n > begun.get(queue, 0)}
        if rest:
            self._slots.release(rest, unheard=unheard)

    def _settle(self, entry: Unanswered) -> None:
        """Get the answer to a lane's call; it is kept, and asked for again, as long as it takes."""
        batch: Batch | None = None
        while True:
            try:
                batch = entry.channel.settle()
            except (StoreUnavailable, StoreFull) as error:
                if self._away(error):
                    break
            except Exception:
                log.exception("a batch cannot be recorded; trying one by one")
                for attempt in entry.finished:
                    self._one_by_one(attempt)
                break
            else:
                self._back()
                break
        entry.channel.close()
        self._begin(Brought(entry.asked, entry.wants, entry.finished, batch), self._on_freed)
        entry.reopen()

    def _finish_and_claim(self, pending: _Pending, slots: Mapping[str, int]) -> Batch | None:
        while True:
            live = [a for a in pending.finished if not a.dropped]
            wants = {} if self._dispatch.closed or self._dispatch.keeper.dark else slots
            if not live and not wants:
                return None
            try:
                batch = self._channel.advance([as_finished(a) for a in live], wants, meanwhile=self._meanwhile)
            except (StoreUnavailable, StoreFull) as error:
                self._hand_out()
                if self._away(error):
                    return None
            except Exception:
                if len(live) <= 1:
                    log.exception("an outcome cannot be recorded; left to rescue", extra=_fields(live))
                    self._held.forget(a.claimed.token for a in live)
                    return None
                log.exception("a batch cannot be recorded; trying one by one")
                for attempt in live:
                    self._one_by_one(attempt)
                return None
            else:
                self._back()
                pending.finished = live
                return batch

    def _one_by_one(self, attempt: Attempt) -> None:
        alone = _Pending(finished=[attempt])
        batch = self._finish_and_claim(alone, {})
        if batch is not None:
            self._held.forget(a.claimed.token for a in alone.finished)
            self._told(alone.finished, batch.lost)

    def _told(self, finished: Sequence[Attempt], lost: Sequence[str]) -> None:
        for attempt in finished:
            if lost and attempt.claimed.token in lost:
                log.warning("lost the claim of a job before its result was recorded", extra=attempt.log_fields())
                attempt.part()
                continue
            if attempt.ended - attempt.started > SLOW:
                log.info("job finished", extra=attempt.log_fields())
            elif log.isEnabledFor(logging.DEBUG):
                log.debug("job finished", extra=attempt.log_fields())
            if attempt.job is not None and attempt.result is not None:
                self._hooks.completed(attempt.job, attempt.result)
            attempt.part()

    def _record(self, attempt: Attempt, outcome: Outcome) -> None:
        kept = self._try(attempt, outcome)
        self._held.forget([attempt.claimed.token])
        if isinstance(outcome, Dropped):
            log.warning("attempt ended without a claim", extra={**attempt.log_fields(), "reason": outcome.reason})
        elif not kept and isinstance(outcome, Ended):
            log.info("job had been cancelled", extra=attempt.log_fields())
        elif not kept:
            log.warning("lost the claim of a job before its end was recorded", extra=attempt.log_fields())
        elif isinstance(outcome, Failed):
            again = "dead letters" if outcome.delay is None else f"again in {outcome.delay:.1f} s"
            log.warning("job failed", extra={**attempt.log_fields(), "next": again, "error": outcome.error})
            if outcome.delay is None and attempt.job is not None and outcome.raised is not None:
                self._hooks.failed(attempt.job, outcome.raised)
        elif isinstance(outcome, Snoozed):
            log.info("job put off", extra={**attempt.log_fields(), "reason": outcome.reason, "delay_s": outcome.delay})
        elif isinstance(outcome, Ended):
            log.info("job ended", extra={**attempt.log_fields(), "state": outcome.state, "reason": outcome.reason})
        attempt.part()

    def _try(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Record it, as often as it takes; False when the claim was lost."""
        while not attempt.dropped:
            try:
                kept = self._call(attempt, outcome)
            except (StoreUnavailable, StoreFull) as error:
                if self._away(error):
                    return False
            except Exception:
                log.exception("an outcome cannot be recorded; left to rescue", extra=attempt.log_fields())
                return False
            else:
                self._back()
                return kept
        return False

    def _call(self, attempt: Attempt, outcome: Outcome) -> bool:
        claimed, started, ended = attempt.claimed, attempt.started, attempt.ended
        if isinstance(outcome, Failed):
            return self._claims.fail(
                claimed,
                error=outcome.error,
                delay=outcome.delay,
                started=started,
                ended=ended,
                asked=outcome.asked,
            )
        if isinstance(outcome, Snoozed):
            return self._claims.snooze(
                claimed, delay=outcome.delay, reason=outcome.reason, parked=outcome.parked, limited=outcome.limited
            )
        if isinstance(outcome, Ended):
            return self._claims.end(claimed, state=outcome.state, reason=outcome.reason, started=started, ended=ended)
        return False

    def _away(self, error: Exception) -> bool:
        """Wait for the server; True when there is no more time to wait."""
        if self._patience.fresh:
            log.warning("cannot record how jobs ended; keeping it and trying again", extra={"error": str(error)})
        wait = self._patience.wait()
        if self._stopping.is_set():
            log.error("outcomes are left to rescue: the server is away and the worker ends")
            return True
        self._dispatch.threads.look()
        self._stopping.wait(wait)
        return False

    def _back(self) -> None:
        if not self._patience.fresh:
            log.info("recording again")
        self._patience.reset()


def as_finished(attempt: Attempt) -> Finished:
    """A completed attempt as the store records it."""
    claimed, outcome = attempt.claimed, attempt.outcome
    if not isinstance(outcome, Completed):
        raise TypeError(f"expected a completed attempt, got {outcome!r}")
    return Finished(
        claimed.queue,
        claimed.id,
        claimed.token,
        outcome.value,
        attempt.started,
        attempt.ended,
        outcome.follow_ups,
        claimed.terms,
    )


def _fields(attempts: Sequence[Attempt]) -> dict[str, object]:
    return attempts[0].log_fields() if attempts else {}
