"""The account of a soak: what was promised, what the jobs did, what is recorded, and whether it agrees.

No Redis here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jobkit.soak.audit import Record
    from jobkit.soak.effects import Effect, Effects


@attrs.frozen
class Kill:
    """A worker's death: when (monotonic), which process, the jobs it had in hand (None: the server was away)."""

    at: float
    pid: int
    held: frozenset[str] | None


@attrs.frozen
class Outage:
    """A time (monotonic) in which the server did not answer."""

    begin: float
    end: float


@attrs.frozen(kw_only=True)
class Account:
    """How a soak ended.

    Attributes:
        seconds: how long it took, the draining included.
        enqueued: enqueues that were acknowledged.
        expected: those, and the follow-ups of their jobs.
        finished: jobs that are recorded as finished.
        effects: how often a job did what it was enqueued for.
        lost: jobs that are neither finished nor among the dead letters, or finished without an effect.
        dead_letters: jobs that took down as many workers as a job may.
        run_twice: jobs with more than one effect.
        in_flight: jobs in hand at the kills, and those that ran while the server was away.
        unexplained: jobs that ran twice and were not among those.
        wrongly_owned: records that were not made by the job's last owner, or by more than one.
        leaked: keys and leases that outlived their job or their worker.
        kills: workers killed.
        restarts: seconds from a kill to the next begin of each job that was in hand, sorted.
        longest_outage: seconds of the longest outage of the server.
        bad_exits: workers that ended otherwise than they were told to.
        drained: whether all jobs had ended in time.

    """

    seconds: float
    enqueued: int
    expected: int
    finished: int
    effects: int
    lost: Sequence[str]
    dead_letters: Sequence[str]
    run_twice: int
    in_flight: int
    unexplained: Sequence[str]
    wrongly_owned: Sequence[str]
    leaked: Sequence[str]
    kills: int
    restarts: Sequence[float]
    longest_outage: float
    bad_exits: int
    drained: bool

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        broken = (self.lost, self.unexplained, self.wrongly_owned, self.leaked)
        return self.drained and not any(broken) and not self.bad_exits and self.run_twice <= self.in_flight

    def restart(self, percent: float) -> float | None:
        """The time from kill to restart that so many percent of the jobs stayed under; None without any."""
        if not self.restarts:
            return None
        return self.restarts[max(0, math.ceil(len(self.restarts) * percent / 100) - 1)]


@attrs.frozen(kw_only=True)
class Evidence:
    """What a soak leaves to compare.

    Attributes:
        seconds: how long it took.
        enqueued: enqueues that were acknowledged.
        expected: the ids of those and of their follow-ups.
        records: what Redis holds of them.
        effects: what they wrote.
        kills: the workers' deaths.
        outages: when the server did not answer.
        leaked: keys and members that outlived what they belong to.
        bad_exits: workers that ended otherwise than they were told to.
        drained: whether all jobs had ended in time.

    """

    seconds: float
    enqueued: int
    expected: Sequence[str]
    records: Iterable[Record]
    effects: Effects
    kills: Sequence[Kill]
    outages: Sequence[Outage]
    leaked: Sequence[str]
    bad_exits: int
    drained: bool


def account(evidence: Evidence) -> Account:
    """Compare everything with everything."""
    expected, effects, kills, outages = evidence.expected, evidence.effects, evidence.kills, evidence.outages
    found = {record.id: record for record in evidence.records}
    finished = [job for job in expected if job in found and found[job].state == "finished"]
    dead = [job for job in expected if job in found and _poisonous(found[job])]
    ended = {*(job for job in finished if job in effects.ends), *dead}
    in_flight = set[str]().union(*(kill.held or () for kill in kills))
    in_flight |= {job for job, runs in effects.ends.items() if any(_met(run, out) for run in runs for out in outages)}
    twice = [job for job, runs in effects.ends.items() if len(runs) > 1]
    return Account(
        seconds=evidence.seconds,
        enqueued=evidence.enqueued,
        expected=len(expected),
        finished=len(finished),
        effects=sum(map(len, effects.ends.values())),
        lost=[job for job in expected if job not in ended],
        dead_letters=dead,
        run_twice=len(twice),
        in_flight=len(in_flight),
        unexplained=[job for job in twice if job not in in_flight],
        wrongly_owned=[job for job in finished if not _owned(found[job], effects)],
        leaked=evidence.leaked,
        kills=len(kills),
        restarts=sorted(_restarts(kills, effects.begins)),
        longest_outage=max((outage.end - outage.begin for outage in outages), default=0.0),
        bad_exits=evidence.bad_exits,
        drained=evidence.drained,
    )


def _poisonous(record: Record) -> bool:
    return record.state == "failed" and (record.error or "").startswith("poison")


def _met(run: Effect, outage: Outage) -> bool:
    return run.begin <= outage.end + _IN_TRANSIT and run.end >= outage.begin - _IN_TRANSIT


_IN_TRANSIT = 1.0
"""Seconds from a claim to its job's begin, and from a job's end to the call that records it, on a busy machine: those
calls met the outage as well."""


def _owned(record: Record, effects: Effects) -> bool:
    """One finish, by the token of the last claim, with the result of that claim, whose run had its effect."""
    if len(record.finishes) != 1:
        return False
    epoch, token = record.finishes[0]
    ran = any(run.epoch == epoch for run in effects.ends.get(record.id, ()))
    return ran and token == record.token and epoch == record.epoch


def _restarts(kills: Sequence[Kill], begins: Mapping[str, Sequence[Effect]]) -> Iterable[float]:
    """From each kill to the next begin of each job in hand then.

    A job that was in hand at a later kill before it began again is counted from that one.
    """
    pending: dict[str, float] = {}
    for kill in sorted(kills, key=lambda each: each.at, reverse=True):
        for job in kill.held or ():
            later = pending.get(job, math.inf)
            again = min((run.begin for run in begins.get(job, ()) if run.begin > kill.at), default=math.inf)
            if again < later:
                yield again - kill.at
            pending[job] = kill.at
