"""Keeping what was claimed: one thread renews the leases of all held claims in one call."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from jobkit.errors import JobkitError
from jobkit.worker.parts import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.store.records import Claimed
    from jobkit.worker.attempt import Attempt
    from jobkit.worker.held import Held

log = logging.getLogger("jobkit.worker")


class LeaseKeeper(Ticker):
    """Renews every `lease / 3` seconds.

    When no renewal has succeeded for two thirds of a lease (by this process's own clock, so that a stopped or starved
    process notices too), the claims are as good as lost: `dark` says that nothing new may start, and the next tick that
    cannot renew drops them all.
    """

    def __init__(
        self,
        held: Held,
        renew: Callable[[Sequence[Claimed]], set[str]],
        *,
        lease: float,
        on_lost: Callable[[Sequence[Attempt]], None],
        on_crash: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("lease", self.tick, patience=min(1.0, lease / 10), on_crash=on_crash)
        self._held = held
        self._renew = renew
        self._lease = lease
        self._on_lost = on_lost
        self._now = now
        self._renewed = now()
        self._due = now() + lease / 3

    @property
    def dark(self) -> bool:
        """Whether the last good renewal is too long ago to start anything."""
        return self._now() - self._renewed > self._lease * 2 / 3

    def tick(self) -> float:
        """Renew once; the seconds until the next time."""
        asked = self._now()
        if (late := asked - self._due) > self._lease / 3:
            log.warning(
                "the leases were renewed late: the process was starved or stopped", extra={"late_s": round(late, 1)}
            )
        attempts = self._held.all()
        try:
            lost = self._renew([a.claimed for a in attempts]) if attempts else set[str]()
        except JobkitError:
            self._due = self._now() + self._lease / 3
            if self.dark and attempts:
                log.error(  # noqa: TRY400 - the outage is logged by the caller; this is about the claims
                    "no renewal for two thirds of a lease; giving up all claims", extra={"claims": len(attempts)}
                )
                self._on_lost(self._held.take(a.claimed.token for a in attempts))
            raise
        self._renewed = asked
        self._due = asked + self._lease / 3
        if lost:
            self._on_lost(self._held.take(lost))
        return self._lease / 3
