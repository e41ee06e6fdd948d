"""A soak from its first job to its account."""

from __future__ import annotations

import heapq
import itertools
import random
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobkit.addresses import shown
from jobkit.errors import ConfigurationError, JobkitError
from jobkit.soak.account import Account, Evidence, Kill, Outage, account
from jobkit.soak.audit import Audit
from jobkit.soak.crew import Crew
from jobkit.soak.effects import Effects
from jobkit.soak.feeder import Feeder
from jobkit.soak.server import OwnServer
from jobkit.soak.work import Setup, follow_ups_of, kit_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobkit.soak.plan import Plan

_LOOK: Final = 0.2
"""Seconds between two looks at how much is left to drain."""
_SPARE: Final = 3
"""Times that each worker may end by itself before the soak is given up."""
_STANDSTILL: Final = 60.0
"""Seconds, and two leases, without any job ending after which the draining has failed."""


class SoakFailed(JobkitError):
    """The soak could not be carried out, so there is no account."""


def soak(plan: Plan, *, tell: Callable[[str], None] = lambda _: None) -> Account:
    """Run the plan; the account. `tell` is given a line now and then.

    Bounded: the plan's seconds, then draining, which ends when nothing moves for a minute and two leases. Removes what
    it wrote. Raises ConfigurationError for a server that holds other data, StoreUnavailable for one that is away.
    """
    with ExitStack() as stack:
        server = stack.enter_context(OwnServer()) if plan.redis_url is None else None
        folder = Path(tempfile.mkdtemp(prefix="jk-soak-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        run = f"soak-{random.SystemRandom().getrandbits(32):08x}"
        setup = Setup(
            url=server.url if server is not None else plan.redis_url or "",
            run=run,
            lease=plan.lease,
            concurrency=plan.concurrency,
            keep=plan.jobs * 2,
            folder=folder,
        )
        kit = stack.enter_context(kit_of(setup))
        audit = Audit(kit.store, run)
        kit.store.check(kit.settings.environment)
        size = audit.size()
        if size and not plan.foreign_data:
            raise ConfigurationError(
                f"soak: expected an empty database, got one with {size} keys at {shown(kit.redis_url)}. A soak loads "
                "the server and its workers sweep every queue there; say --yes where that is meant, or give an empty "
                "database (redis://host:6379/15)"
            )
        return _Soak(plan, setup, server, audit, Feeder(kit, plan, run), tell).run()


class _Soak:
    """One run: a timetable of kills and outages, on one thread."""

    def __init__(
        self,
        plan: Plan,
        setup: Setup,
        server: OwnServer | None,
        audit: Audit,
        feeder: Feeder,
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._setup = setup
        self._server = server
        self._audit = audit
        self._feeder = feeder
        self._tell = tell
        self._crew = Crew(setup, plan.workers)
        self._chance = random.Random(plan.seed)  # noqa: S311 - which worker is killed is no secret
        self._workers: set[str] = set()
        self._kills: list[Kill] = []
        self._outages: list[Outage] = []
        self._out_since: float | None = None
        self._ended_themselves = 0
        self._timetable: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = itertools.count()

    def run(self) -> Account:
        try:
            return self._run()
        finally:
            if self._server is None:  # else all goes with the server
                self._audit.clean(sorted(self._workers))

    def _run(self) -> Account:
        self._tell(f"{self._plan.jobs} jobs, {self._plan.workers} workers, seed {self._plan.seed}")
        try:
            self._crew.start()
            began = time.monotonic()
            self._feeder.start()
            self._break_things(began)
            self._feeder.finish()
            self._tell(f"{len(self._kills)} kills; draining")
            drained = self._drain()
            self._workers |= self._audit.workers()
        finally:
            self._feeder.stop()
            bad_exits = self._crew.stop()
        seconds = time.monotonic() - began
        expected = [*self._feeder.acknowledged, *follow_ups_of(self._setup.run, self._plan.jobs)]
        evidence = Evidence(
            seconds=seconds,
            enqueued=len(self._feeder.acknowledged),
            expected=expected,
            records=self._audit.records(expected),
            effects=Effects.read(self._setup.effects),
            kills=self._kills,
            outages=self._outages,
            leaked=self._audit.leaks(sorted(self._workers)),
            bad_exits=bad_exits + self._ended_themselves,
            drained=drained,
        )
        return account(evidence)

    # What happens when

    def _break_things(self, began: float) -> None:
        end = began + self._plan.seconds
        self._at(began + self._plan.kill_every, self._kill)
        if self._plan.freeze:
            self._at(began + self._plan.seconds / 6, self._freeze)
        if self._plan.away:
            self._at(began + self._plan.seconds / 2, self._take_away)
        while self._timetable and self._timetable[0][0] < end:
            moment, _, action = heapq.heappop(self._timetable)
            self._wait_until(moment)
            action()
        self._wait_until(end)
        for _, _, action in sorted(self._timetable):
            if action != self._kill:
                action()  # the server comes back, whatever the time

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timetable, (moment, next(self._tie), action))

    def _wait_until(self, moment: float) -> None:
        # Not a poll: the timetable says when there is something to do.
        threading.Event().wait(max(0.0, moment - time.monotonic()))

    def _kill(self) -> None:
        now = time.monotonic()
        if self._out_since is None:
            self._revive()
        place = self._victim(now + self._plan.kill_every)
        if place is not None:
            at = time.monotonic()
            pid = self._crew.kill(place)
            self._kills.append(Kill(at, pid, self._held_by(pid)))
            if self._out_since is None:
                self._crew.replace(place)  # else when the server is back: no worker starts without one
        # From now, not from when it should have been: a machine that is behind is not asked to catch up.
        self._at(max(now + self._plan.kill_every, time.monotonic()), self._kill)

    def _revive(self) -> None:
        self._ended_themselves += self._crew.revive()
        if self._ended_themselves > _SPARE * self._plan.workers:
            log = self._setup.log.read_text() if self._setup.log.exists() else ""
            raise SoakFailed(f"soak: expected workers that stay, but {self._ended_themselves} ended:\n{log[-2000:]}")

    def _victim(self, until: float) -> int | None:
        alive = self._crew.alive()
        if self._out_since is not None or not self._plan.spare_idle:
            return self._chance.choice(list(alive)) if alive else None
        while time.monotonic() < until:
            held = self._audit.held()
            busy = [place for place, pid in alive.items() if any(_is(name, pid) for name in held)]
            if busy:
                return self._chance.choice(busy)
            threading.Event().wait(_LOOK / 10)
        return None

    def _held_by(self, pid: int) -> frozenset[str] | None:
        """What the dead process had in hand; None where the server is away, so that nobody can tell."""
        if self._out_since is not None:
            return None
        self._workers |= self._audit.workers()
        return frozenset[str]().union(*(ids for name, ids in self._audit.held().items() if _is(name, pid)))

    def _freeze(self) -> None:
        self._out(self._require_server().freeze, self._require_server().thaw, self._plan.freeze)

    def _take_away(self) -> None:
        self._out(self._require_server().kill, self._require_server().start, self._plan.away)

    def _out(self, begin: Callable[[], None], end: Callable[[], None], seconds: float) -> None:
        self._tell(f"the server is out for {seconds:g} s")
        self._out_since = since = time.monotonic()
        begin()

        def back() -> None:
            end()
            self._out_since = None
            self._crew.revive()
            self._outages.append(Outage(since, time.monotonic()))
            self._tell("the server is back")

        self._at(since + seconds, back)

    def _require_server(self) -> OwnServer:
        if self._server is None:
            raise RuntimeError("expected a server of the soak's own: the plan refuses outages of any other")
        return self._server

    def _drain(self) -> bool:
        patience = _STANDSTILL + 2 * self._plan.lease
        left, moved = self._unfinished(), time.monotonic()
        while left:
            if time.monotonic() - moved > patience:
                self._tell(f"{left} jobs do not end")
                return False
            self._revive()
            threading.Event().wait(_LOOK)
            now_left = self._unfinished()
            if now_left != left:
                left, moved = now_left, time.monotonic()
        return True

    def _unfinished(self) -> int:
        return self._audit.unfinished()


def _is(worker: str, pid: int) -> bool:
    return f"-{pid}-" in worker
