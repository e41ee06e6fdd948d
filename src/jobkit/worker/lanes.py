"""Recording attempts where they end, on the event loop: the plain case of what the finisher does in its thread.

Up to two calls are under way, so that the server works while the loop runs jobs. What is not plain goes through the
finisher: other outcomes than a completed one, suspects, answers that were late, and everything once the worker drains
or the server does not answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.errors import JobkitError, StoreUnavailable
from jobkit.store.lane import Lane
from jobkit.worker.dispatch import Brought, Unanswered, tally
from jobkit.worker.finisher import BATCH, SMALL, as_finished
from jobkit.worker.outcomes import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobkit.store.claims import Claims
    from jobkit.worker.attempt import Attempt
    from jobkit.worker.dispatch import Dispatch
    from jobkit.worker.finisher import Finisher
    from jobkit.worker.loop_executor import LoopExecutor
    from jobkit.worker.slots import Slots

log = logging.getLogger("jobkit.worker")

LANES: Final = 2
CHECKS: Final = 1.0
"""Seconds between two looks whether an answer is late or a lane can be opened again."""
LAST_ANSWERS: Final = 0.2
"""Seconds that the worker's end waits for the loop; then the finisher asks for the answers that are still to come."""


@attrs.define
class _Call:
    """A call under way."""

    asked: float
    wants: Mapping[str, int]
    freed: Mapping[str, int]
    finished: Sequence[Attempt]


class Lanes:
    """The lanes of one worker. Everything but `start`, `drain` and `stop` happens in the loop's thread.

    A call under way belongs to whoever takes it out of `_calls`: the loop as a rule, and the thread that ends the
    worker where a processor blocks the loop.
    """

    def __init__(
        self,
        claims: Claims,
        slots: Slots,
        dispatch: Dispatch,
        finisher: Finisher,
        executor: LoopExecutor,
        *,
        timeout: float,
        late: float,
    ) -> None:
        self._claims = claims
        self._slots = slots
        self._dispatch = dispatch
        self._finisher = finisher
        self._executor = executor
        self._timeout = timeout
        self._late = late
        self._every = min(CHECKS, timeout / 2)
        self._most = min(BATCH, max(SMALL, slots.total))
        self._done: deque[Attempt] = deque()
        self._lanes: list[Lane] = []
        self._down: list[Lane] = []
        self._calls: dict[Lane, _Call] = {}
        self._context = contextvars.Context()  # what is sent for many attempts runs in the context of none
        self._sending = False
        self._started = False
        self._refused = False
        self._draining = False
        self._drained = threading.Event()
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the lanes, soon; until they are, everything goes through the finisher."""
        self._started = True
        self._executor.post(self._start)

    def take(self, attempt: Attempt) -> bool:
        """Record a completed attempt that has ended on the loop; False: the finisher has to."""
        if not self._lanes or type(attempt.outcome) is not Completed or self._dispatch.closed:
            return False
        self._done.append(attempt)
        if not self._sending:
            self._sending = True
            asyncio.get_running_loop().call_soon(self._send, context=self._context)
        return True

    def drain(self) -> None:
        """Leave nothing under way: what is not recorded is the finisher's then. When the worker ends, after its close.

        Waits a moment for the loop; one that a processor blocks is not waited for any longer.
        """
        if not self._started:
            return
        self._executor.post(self._drain)
        self._drained.wait(LAST_ANSWERS)
        for lane in tuple(self._calls):
            self._hand_over(lane)
        self._flush()

    def stop(self) -> None:
        """Close the lanes."""
        self._executor.post(self._stop)

    def _start(self) -> None:
        self._down = [
            Lane(
                self._claims.channel(f"lane-{number}"),
                timeout=self._timeout,
                on_answer=self._answered,
                on_broken=self._broken,
            )
            for number in range(LANES)
        ]
        self._look()

    def _look(self) -> None:
        """See to late answers and to lanes that are down, again and again."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every, self._look, context=self._context)
        for lane in tuple(self._lanes):
            lane.check()
        if self._down and (self._task is None or self._task.done()):
            self._task = loop.create_task(self._open())

    async def _open(self) -> None:
        for lane in tuple(self._down):
            try:
                possible = await lane.open()
            except (StoreUnavailable, OSError):
                return  # the finisher says so when it has something to record
            except JobkitError as error:  # rights may change, so it is tried again
                if not self._refused:
                    log.warning("lanes are refused; the finisher records in their place", extra={"error": str(error)})
                self._refused = True
                return
            except Exception:
                log.exception("a lane cannot be opened; the finisher records in its place")
                possible = False
            if lane.free:
                self._lanes.append(lane)
            if lane.free or not possible:
                self._down.remove(lane)
        self._send()  # what waited for a busy one

    def _drain(self) -> None:
        self._draining = True
        self._flush()
        self._tell_drained()

    def _tell_drained(self) -> None:
        if self._draining and not self._calls:
            self._drained.set()

    def _stop(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        lanes, self._lanes = [*self._lanes, *self._down], []
        for lane in lanes:
            lane.close()

    def _send(self) -> None:
        """Send what has ended. What is left waits for a busy lane, which sends it when its answer is there."""
        self._sending = False
        while self._done and not self._draining:
            lane = next((each for each in self._lanes if each.free), None)
            if lane is None:
                break
            self._send_over(lane)
        if not self._lanes or self._draining:
            self._flush()

    def _send_over(self, lane: Lane) -> None:
        finished = self._next(self._most)
        asked = time.monotonic()
        freed = tally([attempt.claimed for attempt in finished])
        wants = self._slots.reuse(freed, self._dispatch.pace.ahead())
        live = [attempt for attempt in finished if not attempt.dropped]
        claim = {} if self._dispatch.closed or self._dispatch.keeper.dark else wants
        if not live and not claim:
            self._begin(Brought(asked, wants, (), None))
            return
        self._calls[lane] = _Call(asked, wants, freed, live)
        try:
            lane.advance([as_finished(attempt) for attempt in live], claim)
        except Exception:
            log.exception("a lane cannot send its call; the finisher does")
            lane.give_up()

    def _next(self, most: int) -> list[Attempt]:
        taken: list[Attempt] = []
        try:
            while len(taken) < most:
                taken.append(self._done.popleft())
        except IndexError:  # also where the thread that ends the worker was quicker
            pass
        return taken

    def _flush(self) -> None:
        """Give the finisher what was not sent; from any thread."""
        for attempt in self._next(len(self._done)):
            self._dispatch.outbox.put(attempt)

    def _answered(self, lane: Lane, reply: Any) -> None:
        call = self._calls.pop(lane, None)
        if call is None:  # handed over while the loop was blocked
            lane.give_up()
            return
        try:
            batch = lane.channel.complete(reply)
        except Exception:
            log.exception("a lane's answer cannot be read; the finisher asks again")
            self._calls[lane] = call
            lane.give_up()
            return
        now = time.monotonic()
        self._dispatch.pace.record(call.freed, call.asked, now)
        if self._done:
            self._send()  # the server works while this batch is handed out
        brought = Brought(call.asked, call.wants, call.finished, batch)
        plain = now - call.asked < self._late and not any(claimed.rescues for claimed in batch.claimed)
        if plain and not self._dispatch.closed:
            self._begin(brought)
        else:
            self._dispatch.outbox.put(brought)
        self._tell_drained()

    def _begin(self, brought: Brought) -> None:
        self._finisher.begin(brought)
        self._dispatch.look()

    def _broken(self, lane: Lane) -> None:
        if lane not in self._lanes:  # while it was being opened: it still is among those to open
            return
        self._lanes.remove(lane)
        if not self._hand_over(lane):
            self._reopen(lane)
        self._send()  # what waited for this lane
        self._tell_drained()

    def _hand_over(self, lane: Lane) -> bool:
        """Have the finisher settle the call under way; False when there is none."""
        call = self._calls.pop(lane, None)
        if call is None:
            return False

        def reopen() -> None:
            self._executor.post(lambda: self._reopen(lane))

        self._dispatch.outbox.put(Unanswered(lane.channel, call.asked, call.wants, call.finished, reopen))
        return True

    def _reopen(self, lane: Lane) -> None:
        if not (self._closed or self._draining):
            self._down.append(lane)
