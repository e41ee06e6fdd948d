"""Timeouts that race the end of their attempt: how many land outside of it, with the worker's fence and without.

A thread runs attempts, one after the other, with some bookkeeping after each. An attempt ends a few microseconds after
another thread has taken aim at it, which interrupts it just then: sooner, later, or with a pause before it sends the
exception. A plain watchdog, which has seen the attempt run, then sends it to whatever comes next. An interruption that
comes up in the bookkeeping, or in a later attempt, is a leak.
"""

import argparse
import ctypes
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from unittest.mock import patch

from jobkit.errors import Interruption, JobTimeout
from jobkit.worker.fence import ThreadFence

STEPS = 8
STEP = 10
"""An attempt ends so many turns of a loop after it saw that it was aimed at: 0, 10, 20 ... 70."""
PAUSES = 3
"""The other thread lets it go on 0, 1 or 2 times before it interrupts."""
SWITCHES = 0.000001
"""Seconds after which Python lets another thread go on: at once, so that it does so anywhere."""
LAST = 0.01
"""Seconds for what is still on its way at the end."""
BUSY = 20
"""Calls of the bookkeeping after each attempt."""


class OfAttempt(JobTimeout):
    """The interruption of one attempt; each has a class of its own, so that it is known wherever it comes up."""


class Guard(Protocol):
    """What an attempt runs in."""

    why: type[Interruption] | None

    def run(self, fn: Callable[[int], None], number: int) -> None:
        """Run the attempt."""
        ...

    def interrupt(self, why: type[Interruption]) -> bool:
        """Interrupt it, if it runs."""
        ...


class Unfenced:
    """The plain way: the exception is sent to the thread if the attempt's flag is up."""

    def __init__(self, send: Callable[[int, type[BaseException] | None], None]) -> None:
        self.why: type[Interruption] | None = None
        self._send = send
        self._ident = 0

    def run(self, fn: Callable[[int], None], number: int) -> None:
        """Run the attempt with its flag up."""
        self._ident = threading.get_ident()
        try:
            fn(number)
        finally:
            self._ident = 0

    def interrupt(self, why: type[Interruption]) -> bool:
        """Send it."""
        ident = self._ident
        if not ident:
            return False
        self.why = why
        self._send(ident, why)
        return True


class Race:
    """So many attempts in one thread, and what became of their interruptions."""

    def __init__(self, make: Callable[[], Guard], rounds: int) -> None:
        self.counts: Counter[str] = Counter()
        self._make = make
        self._rounds = rounds
        self._now: tuple[int, Guard, type[OfAttempt]] | None = None
        self._aimed_at = 0
        self._over = False

    def run(self) -> Counter[str]:
        """Run them; interrupts from the calling thread."""
        runner = threading.Thread(target=self._attempts)
        runner.start()
        while not self._over:
            now = self._now
            if now is None or now[0] == self._aimed_at:
                time.sleep(0)
                continue
            number, guard, why = now
            self._aimed_at = number
            for _ in range(number % PAUSES):
                time.sleep(0)
            guard.interrupt(why)
        runner.join()
        return self.counts

    def _body(self, number: int) -> None:
        while self._aimed_at != number:
            time.sleep(0)
        for _ in range(STEP * (number % STEPS)):
            pass

    def _attempts(self) -> None:
        done = 0
        while done < self._rounds:
            try:
                while done < self._rounds:
                    done += 1
                    self._attempt(done)
            except OfAttempt:  # between two attempts
                self.counts["leaks"] += 1
        self._now = None
        try:
            time.sleep(LAST)
        except OfAttempt:
            self.counts["leaks"] += 1
        self._over = True

    def _attempt(self, number: int) -> None:
        why = type("OfThis", (OfAttempt,), {})
        guard = self._make()
        self._now = (number, guard, why)
        raised: type[BaseException] | None = None
        try:
            guard.run(self._body, number)
        except OfAttempt as error:
            raised = type(error)
        try:
            for _ in range(BUSY):
                time.perf_counter()
        except OfAttempt:
            self.counts["leaks"] += 1
        if raised is why:
            self.counts["interrupted"] += 1
        elif raised is not None:  # an earlier attempt's
            self.counts["leaks"] += 1
        elif guard.why is not None:
            self.counts["sent in vain"] += 1
        else:
            self.counts["ended first"] += 1


def hesitating() -> Callable[[int, type[BaseException] | None], None]:
    """Send an exception to a thread (None: take it back), every other one after the thread could go on."""
    turns = itertools.count()

    def send(ident: int, error: type[BaseException] | None) -> None:
        if error is not None and next(turns) % 2:
            time.sleep(0)
        raised = ctypes.py_object(error) if error is not None else None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), raised)

    return send


@contextmanager
def switching() -> Iterator[None]:
    """Have Python switch between threads all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCHES)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def main(arguments: list[str]) -> None:
    """Race and print a table; the exit code is 1 where the fence leaks."""
    parser = argparse.ArgumentParser(prog="./dev bench fence", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=32_000)
    options = parser.parse_args(arguments)
    send = hesitating()
    with switching(), patch("jobkit.worker.fence._set_async_exc", send):
        rows = {
            "fence": Race(ThreadFence, options.rounds).run(),
            "no fence": Race(lambda: Unfenced(send), options.rounds).run(),
        }
    print(f"{options.rounds:,} attempts each, interrupted at about their end")
    titles = ("interrupted", "sent in vain", "ended first", "leaks")
    print(f"{'':10}" + "".join(f"{title:>14}" for title in titles))
    for name, counts in rows.items():
        print(f"{name:10}" + "".join(f"{counts[title]:>14,}" for title in titles))
    sys.exit(1 if rows["fence"]["leaks"] else 0)
