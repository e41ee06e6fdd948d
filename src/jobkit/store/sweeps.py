"""What any jobkit process does for every queue, served here or not: promote, rescue, trim, end pauses.

The rules of each queue lie in one hash, so that a queue dropped from the code, or served by other hosts, is still
swept. Any number of sweeps may run at once: each step is one atomic script.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from jobkit.store.codec import pack_error
from jobkit.store.connection import Operation, Store
from jobkit.store.operations import blocks, bookkeep
from jobkit.store.pauses import resume
from jobkit.store.records import QueueRules
from jobkit.store.rq_jobs import give_slots_on
from jobkit.store.scripting import script

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUND: Final = 200
"""Jobs one script may move (design 5.7)."""
UNBLOCK: Final = 100
"""Limits that one sweep looks after."""
SUSPECT_BUDGET: Final = 3
"""Workers a job may take down before it counts as poison (design 5.9)."""
OUTAGE_AFTER: Final = 15.0
"""Seconds without any sweep that count as an outage, and the grace that leases get after one (design 5.8)."""

_POISON: Final = (
    f"poison: its worker died, or lost its lease, {SUSPECT_BUDGET + 1} times while this job ran. "
    "Look at what it does to the process (memory, native code); `jobkit jobs retry` gives it a new life"
)


@attrs.frozen
class SweepReport:
    """What one sweep moved. `more`: a bound was reached, so another sweep at once is worth it."""

    promoted: int = 0
    rescued: int = 0
    poisoned: int = 0
    trimmed: int = 0
    more: bool = False
    unreadable: tuple[str, ...] = ()


@attrs.frozen
class Sweeps:
    """The sweep over one Redis."""

    store: Store

    def publish(self, rules: Mapping[str, QueueRules]) -> None:
        """Leave the rules of these queues for whoever sweeps, and make the queues known to RQ's tools."""
        if not rules:
            return
        keys = self.store.keys
        words: list[Any] = ["HSET", keys.specs]
        for queue, rule in rules.items():
            words += (queue, json.dumps(attrs.asdict(rule)))
        known = ["SADD", keys.queues, *(keys.queue(queue) for queue in rules)]
        self.store.run(bookkeep(keys, [words, known]))

    def enforce(self, rules: Mapping[str, str], revision: int) -> list[str]:
        """Put the limits of these queues in force (JSON, '' for none); the queues where a newer revision stays."""
        if not rules:
            return []
        names, _ = blocks(self.store.keys, rules)
        args = [self.store.keys.prefix, revision, *rules.values()]
        done = self.store.run(Operation(script("set_rules"), names, args, list))
        return [queue for queue, taken in zip(rules, done, strict=True) if not taken]

    def unblock(self) -> tuple[int, bool]:
        """Look after lanes that nothing else brings back; how many may try again, and whether there are more."""
        keys = self.store.keys
        args = [keys.prefix, UNBLOCK, BOUND]
        back, more = self.store.run(Operation(script("unblock"), keys.head, args, list))
        return back, bool(more)

    def known(self) -> tuple[dict[str, QueueRules], tuple[str, ...]]:
        """The published rules, and the queues whose rules cannot be read.

        Those are promoted and rescued all the same, and nothing of theirs is trimmed.
        """
        stored = self.store.run(Operation(None, (), ("HGETALL", self.store.keys.specs), dict))
        rules, unreadable = {}, []
        for name, text in stored.items():
            try:
                rules[name.decode()] = QueueRules(**json.loads(text))
            except (ValueError, TypeError):
                unreadable.append(name.decode())
        return rules, tuple(unreadable)

    def sweep(self, *, unless_within: float = 0.0) -> SweepReport:
        """Promote what fell due, rescue what lost its worker, trim what retention no longer keeps, end pauses.

        Nothing where somebody has begun one within the last `unless_within` seconds: of fifty workers one is enough.
        Bounded: at most 200 jobs a queue and kind. Raises StoreUnavailable.
        """
        keys = self.store.keys
        stamp = Operation(
            script("stamp"),
            [*keys.head, keys.sweep],
            [keys.prefix, round(OUTAGE_AFTER * 1000), round(OUTAGE_AFTER * 1000), round(unless_within * 1000)],
            int,
        )
        if not self.store.run(stamp):
            return SweepReport()
        rules, unreadable = self.known()
        report = SweepReport(unreadable=unreadable)
        for queue in [*rules, *unreadable]:
            report = self._sweep_queue(queue, rules.get(queue), report)
        again = self.unblock()[1]
        if self.store.run(resume(keys, ())).more or again:
            report = attrs.evolve(report, more=True)
        if self.store.run(Operation(None, (), ("EXISTS", keys.rate_limits), int)):
            give_slots_on(self.store)
        return report

    def promote(self, queue: str) -> int:
        """Queue what fell due; answers how many."""
        return int(self._script("promote", queue, BOUND))

    def rescue(self, queue: str, *, keep_dead: int) -> tuple[int, int, int]:
        """Take jobs back whose lease ran out; answers (rescued, poisoned, released)."""
        done = self._script("rescue", queue, BOUND, SUSPECT_BUDGET, keep_dead, pack_error(_POISON), _POISON)
        return done[0], done[1], done[2]

    def trim(self, queue: str, rule: QueueRules) -> int:
        """Delete what retention no longer keeps; answers how many."""
        return int(self._script("trim", queue, rule.keep_done, rule.keep_dead, rule.done_age_ms, rule.dead_age_ms))

    def _sweep_queue(self, queue: str, rule: QueueRules | None, so_far: SweepReport) -> SweepReport:
        promoted = self.promote(queue)
        rescued, poisoned, released = self.rescue(queue, keep_dead=rule.keep_dead if rule else _NO_LIMIT)
        trimmed = self.trim(queue, rule) if rule else 0
        return SweepReport(
            promoted=so_far.promoted + promoted,
            rescued=so_far.rescued + rescued,
            poisoned=so_far.poisoned + poisoned,
            trimmed=so_far.trimmed + trimmed,
            more=so_far.more or promoted >= BOUND or rescued + poisoned + released >= BOUND or trimmed >= BOUND,
            unreadable=so_far.unreadable,
        )

    def _script(self, name: str, queue: str, *args: Any) -> Any:
        keys = self.store.keys
        names, _ = blocks(keys, [queue])
        return self.store.run(Operation(script(name), names, [keys.prefix, *args], lambda reply: reply))


_NO_LIMIT: Final = 2**53
