"""Recording attempts where they end, on the event loop: the plain case of what the finisher does in its thread.

Up to two calls are under way, so that the server works while the loop runs jobs. What is not plain goes through the
finisher: other outcomes than a completed one, suspects, answers that were late, and everything once the worker drains
or the server does not answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from jobkit.errors import JobkitError
from jobkit.store.lane import Lane
from jobkit.worker.dispatch import Brought, Unanswered, tally
from jobkit.worker.finisher import as_finished
from jobkit.worker.outcomes import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobkit.store.claims import Claims
    from jobkit.store.records import Batch
    from jobkit.worker.attempt import Attempt
    from jobkit.worker.dispatch import Dispatch
    from jobkit.worker.executors import LoopExecutor
    from jobkit.worker.finisher import Finisher
    from jobkit.worker.slots import Slots

log = logging.getLogger("jobkit.worker")

LANES: Final = 2
CHECKS: Final = 1.0
"""Seconds between two looks whether an answer is late or a lane can be opened again."""


@attrs.define
class _Call:
    """A call under way."""

    asked: float
    wants: Mapping[str, int]
    freed: Mapping[str, int]
    finished: Sequence[Attempt]


class Lanes:
    """The lanes of one worker. Everything but `start`, `flush` and `stop` happens in the loop's thread."""

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
        self._most = max(4, slots.total)
        self._done: deque[Attempt] = deque()
        self._lanes: list[Lane] = []
        self._down: list[Lane] = []
        self._calls: dict[Lane, _Call] = {}
        self._sending = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the lanes, soon; until they are, everything goes through the finisher."""
        self._executor.post(self._start)

    def take(self, attempt: Attempt) -> bool:
        """Record a completed attempt that has ended on the loop; False: the finisher has to."""
        if not self._lanes or type(attempt.outcome) is not Completed or self._dispatch.closed:
            return False
        self._done.append(attempt)
        if not self._sending:
            self._sending = True
            asyncio.get_running_loop().call_soon(self._send)
        return True

    def flush(self) -> None:
        """Give the finisher what was not sent: from any thread, when the worker ends."""
        while self._done:
            try:
                self._dispatch.outbox.put(self._done.popleft())
            except IndexError:  # the loop was quicker
                return

    def stop(self) -> None:
        """Close the lanes."""
        self._executor.post(self._stop)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._down = [
            Lane(
                self._claims.channel(f"lane-{number}"),
                timeout=self._timeout,
                on_answer=self._answered,
                on_broken=self._broken,
            )
            for number in range(LANES)
        ]
        self._task = loop.create_task(self._keep_open())

    async def _keep_open(self) -> None:
        while not self._closed:
            for lane in list(self._down):
                try:
                    opened = await lane.open()
                except (JobkitError, OSError):
                    break  # the finisher says so when it has something to record
                self._down.remove(lane)
                if not opened:
                    return
                self._lanes.append(lane)
            await asyncio.sleep(CHECKS)
            for lane in list(self._lanes):
                lane.check()

    def _stop(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        lanes, self._lanes = self._lanes, []
        for lane in [*lanes, *self._down]:
            lane.close()

    def _send(self) -> None:
        self._sending = False
        lane = next((each for each in self._lanes if each.free), None)
        if lane is None:
            if not self._lanes:
                self.flush()
            return
        take = self._done.popleft
        finished = [take() for _ in range(min(len(self._done), self._most))]
        if not finished:
            return
        asked = time.monotonic()
        freed = tally([attempt.claimed for attempt in finished])
        wants = self._slots.reuse(freed, self._dispatch.pace.ahead())
        live = [attempt for attempt in finished if not attempt.dropped]
        claim = {} if self._dispatch.closed or self._dispatch.keeper.dark else wants
        if not live and not claim:
            self._finisher.begin(Brought(asked, wants, (), None))
            return
        self._calls[lane] = _Call(asked, wants, freed, live)
        lane.advance([as_finished(attempt) for attempt in live], claim)
        if self._done:
            self._send()

    def _answered(self, lane: Lane, batch: Batch) -> None:
        call = self._calls.pop(lane)
        now = time.monotonic()
        self._dispatch.pace.record(call.freed, call.asked, now)
        if self._done:
            self._send()  # the server works while this batch is handed out
        brought = Brought(call.asked, call.wants, call.finished, batch)
        plain = now - call.asked < self._late and not any(claimed.rescues for claimed in batch.claimed)
        if plain and not self._dispatch.closed:
            self._finisher.begin(brought)
        else:
            self._dispatch.outbox.put(brought)

    def _broken(self, lane: Lane) -> None:
        self._lanes.remove(lane)
        call = self._calls.pop(lane, None)
        if call is None:
            self._reopen(lane)
            return
        self._dispatch.outbox.put(
            Unanswered(
                lane.channel,
                call.asked,
                call.wants,
                call.finished,
                lambda: self._executor.post(lambda: self._reopen(lane)),
            )
        )
        if not self._lanes:
            self.flush()

    def _reopen(self, lane: Lane) -> None:
        if not self._closed:
            self._down.append(lane)
