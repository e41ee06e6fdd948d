"""A mutex for code that is no job: it excludes jobs with `mutex=` of the same name, and other locks of that name."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import attrs

from jobkit.errors import DeclarationError, JobkitError, LockLost, LockTimeout
from jobkit.store import locks
from jobkit.timing import LONGEST, Seconds, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from jobkit.door import Door
    from jobkit.store import Store
    from jobkit.store.connection import Operation

log = logging.getLogger("jobkit.locks")

FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.25
"""Seconds between two looks at a mutex that is held; each pause is twice the one before. An interruption reaches a
thread only between two sleeps, so they are short."""


def _name(_: object, __: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise DeclarationError(f"kit.lock(name): expected the name of a mutex (str), got {value!r:.200}")


@attrs.frozen
class _Claim:
    """What is asked of the server: this mutex, for that long, under a token of its own."""

    store: Store
    name: str = attrs.field(validator=_name)
    lease: float
    token: str = attrs.field(init=False, factory=lambda: secrets.token_hex(8))

    def take(self) -> Operation[int]:
        return locks.take(self.store.keys, self.name, self.token, self.lease)

    def keep(self) -> Operation[bool]:
        return locks.keep(self.store.keys, self.name, self.token, self.lease)

    def give_back(self) -> Operation[bool]:
        return locks.give_back(self.store.keys, self.name, self.token)

    def not_given_back(self, error: JobkitError) -> None:
        log.warning(
            "a lock cannot be given back; it is free when its lease is over",
            extra={"lock": self.name, "lease_s": self.lease, "error": str(error)},
        )


class HeldLock:
    """A lock while it is held. A thread renews its lease at a third of it.

    Attributes:
        name: the mutex.
        fence: a number that is greater than that of every lock taken before; give it to systems that refuse smaller
            ones.

    """

    def __init__(self, claim: _Claim, fence: int, asked: float) -> None:
        self.name = claim.name
        self.fence = fence
        self._claim = claim
        self._renewed = asked
        self._gone = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="jobkit-lock", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether the lease was not renewed in time, by this process's clock: somebody else may hold the mutex."""
        if time.monotonic() - self._renewed >= self._claim.lease:
            self._gone = True
        return self._gone

    def check(self) -> None:
        """Raise LockLost where the lock is lost; ask just before what must not happen twice."""
        if self.lost:
            raise LockLost(
                f"lock {self.name!r}: its lease of {self._claim.lease:g} s was not renewed in time and somebody else "
                "may hold it; stop what it protects, and take it anew"
            )

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more; waits for a renewal that is under way."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _renew(self) -> None:
        wait = self._claim.lease / 3
        while not self._over.wait(wait):
            wait = self._try()
            if self.lost:
                log.error("a lock is lost: its lease was not renewed in time", extra={"lock": self.name})
                return

    def _try(self) -> float:
        """Renew once; seconds until the next time."""
        asked = time.monotonic()
        try:
            kept = self._claim.store.run(self._claim.keep())
        except JobkitError as error:
            log.warning("a lock cannot be renewed; trying again", extra={"lock": self.name, "error": str(error)})
            return min(self._claim.lease / 10, 1.0)
        if not kept:
            self._gone = True
        elif not self.lost:
            self._renewed = asked
        return self._claim.lease / 3


class _Pauses:
    """The pauses between tries, until the time to wait is over."""

    def __init__(self, name: str, wait: Seconds | None) -> None:
        self._name = name
        self._wait = math.inf if wait is None else seconds(wait, "kit.lock(wait=)", most=LONGEST)
        self._until = time.monotonic() + self._wait
        self._next = FIRST_PAUSE

    def next(self) -> float:
        """Seconds until the next try; raises LockTimeout where there is none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise LockTimeout(
                f"lock {self._name!r}: somebody else has held it for all of the {self._wait:g} s of wait=; "
                "try again later, or wait longer"
            )
        pause, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        return min(pause, left)


def _lease(value: Seconds) -> float:
    return seconds(value, "kit.lock(lease=)", least=1.0, most=LONGEST)


@contextmanager
def lock(door: Door, name: str, wait: Seconds | None, lease: Seconds) -> Generator[HeldLock]:
    """Hold the mutex; see `JobKit.lock`."""
    pauses, term = _Pauses(name, wait), _lease(lease)
    claim = _Claim(door.store(), name, term)
    held = None
    try:
        asked = time.monotonic()
        while not (fence := claim.store.run(claim.take())):
            time.sleep(pauses.next())
            asked = time.monotonic()
        held = HeldLock(claim, fence, asked)
        held.start()
        yield held
    finally:
        # Also where it is not known to be held: a call that was interrupted may have taken it.
        try:
            if held is not None:
                held.stop()
            claim.store.run(claim.give_back())
        except JobkitError as error:
            claim.not_given_back(error)


@asynccontextmanager
async def alock(door: Door, name: str, wait: Seconds | None, lease: Seconds) -> AsyncGenerator[HeldLock]:
    """As `lock`, on the running event loop."""
    pauses, term = _Pauses(name, wait), _lease(lease)
    claim = _Claim(await door.astore(), name, term)
    held = None
    try:
        asked = time.monotonic()
        while not (fence := await claim.store.arun(claim.take())):
            await asyncio.sleep(pauses.next())
            asked = time.monotonic()
        held = HeldLock(claim, fence, asked)
        held.start()
        yield held
    finally:
        try:
            if held is not None:
                await asyncio.to_thread(held.stop)
            await claim.store.arun(claim.give_back())
        except JobkitError as error:
            claim.not_given_back(error)
