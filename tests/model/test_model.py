"""Any calls in any order leave every acknowledged job in one place, with one owner at most, and nothing besides."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobkit.errors import LostClaim
from jobkit.store import operations
from jobkit.store.claims import Claims
from jobkit.store.records import Batch, Claimed, NewJob
from jobkit.store.sweeps import SweepReport
from tests.model.draws import DELAYS, IDS, NEWS, NUMBERS, OFTEN, PICK, PICKS, SOME_QUEUES, WANTS, WHO
from tests.model.hand import Hand
from tests.model.job import BUDGET, LEASE, QUEUES, RELEASES, RULES, Answer
from tests.model.keyspace import expected, found, iso
from tests.model.model import Model
from tests.store.world import NO_WAIT, World, done_with

NOW = 4_000_000_000_101
"""Unix ms. So far ahead of the server's clock, the scripts' clock moves only when it is told to."""
PATIENCE = 5.0
SHORT, LONG = 4, 200
"""Searches of ten examples, by Hypothesis profile."""
REGISTERED = "w1"
TALLIES = ("successful_job_count", "failed_job_count")
REGISTRIES = {"stopped": "failed"}
ERROR = "Traceback\nValueError: no"


class Machine(RuleBasedStateMachine):
    """Drives the scripts and the model alike, on two queues with three workers. Nobody forgets a token."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.url, RULES)
        self.world.redis.flushall()
        self.model = Model(NOW)
        self.world.redis.set("rq:jk:clock", self.model.now)
        self.world.sweeps.publish(RULES)
        for tally in TALLIES:
            self.world.redis.hset(f"rq:worker:{REGISTERED}", tally, 0)
            self.model.tallies[REGISTERED, tally] = 0
        self.hands: dict[str, Hand] = {}
        for name in RELEASES:
            claims = Claims(self.world.store, name, RULES, lease=LEASE / 1000, release=RELEASES[name])
            self.hands[name] = Hand(claims, claims.channel("c"))

    def teardown(self) -> None:
        for hand in self.hands.values():
            hand.channel.close()
        self.world.close()

    # --- what the rules are given

    def new(self, told: tuple[bool, int, str, int, bool, tuple[str, str, int | None] | None]) -> NewJob:
        """A new job, with a dedupe key or without. Its time is a delay or a date, which may be the present one."""
        is_free, number, queue, delay, is_date, dedupe = told
        among = [job_id for job_id in IDS if job_id not in self.model.jobs] if is_free else IDS
        when = {"due_ms": self.model.now + delay} if is_date else {"delay_ms": delay}
        flow = {"d": dict(zip("kmw", dedupe, strict=True))} if dedupe else None
        job_id = (among or IDS)[number % len(among or IDS)]
        return self.world.new(job_id, queue, flow=json.dumps(flow).encode() if flow else b"", **when)

    def some_job(self, number: int, states: Sequence[str]) -> tuple[str, str]:
        """A job and its queue, as its hash names it: in one of these states where there is one."""
        jobs = self.model.jobs
        among = [job_id for job_id in IDS if job_id in jobs and jobs[job_id].state in states] or IDS
        job_id = among[number % len(among)]
        return job_id, jobs[job_id].queue if job_id in jobs else "a"

    def someone(self, number: int) -> tuple[str, Hand]:
        """A worker that has claimed before, rather one that owns something."""
        used = self.hands_used
        owners = [(name, hand) for name, hand in used if any(self.model.is_owned(claim) for claim in hand.had)]
        among = owners if owners and number % 4 else used
        return among[number // 4 % len(among)]

    @property
    def hands_used(self) -> list[tuple[str, Hand]]:
        return [(name, hand) for name, hand in self.hands.items() if hand.had]

    def pick(self, hand: Hand, picks: list[tuple[str, int, int]]) -> list[Claimed]:
        """Some of a worker's claims; the same may be among them twice."""
        owned = [claim for claim in hand.had if self.model.is_owned(claim)]
        past = [claim for claim in hand.had if not self.model.is_owned(claim)]
        held = [job_id for job_id, job in self.model.jobs.items() if job.token]
        stale = [claim for claim in past if claim.id in held]
        batch = []
        for kind, first, second in picks:
            among = {"stale": stale, "past": past}.get(kind, owned) or hand.had
            claim = among[first % len(among)]
            if kind == "forged" and held:
                claim = attrs.evolve(claim, id=held[second % len(held)])
            elif kind == "elsewhere":
                claim = attrs.evolve(claim, queue=QUEUES[second % 2])
            batch.append(claim)
        return batch

    def answered(self, hand: Hand, batch: Batch, answer: Answer) -> None:
        """The server answered as the model did; the worker has what it was given."""
        assert [claim.id for claim in batch.claimed] == answer.claimed
        assert batch.lost == answer.lost
        # The server counts due times in seconds: it may say a ms more.
        wait = None if batch.wait is None else round(batch.wait * 1000)
        assert wait == answer.wait or (wait and answer.wait and wait == answer.wait + 1)
        for claim in batch.claimed:
            job = self.model.jobs[claim.id]
            assert claim.queue == job.queue
            assert (claim.epoch, claim.failed, claim.rescues) == (job.epoch, job.failed, job.rescues)
            assert (claim.parked_ms, self.enqueued_at(claim)) == (job.parked, iso(job.enqueued))
            self.model.granted(claim)
        hand.had += batch.claimed
        if answer.kept:
            hand.kept = hand.sent, batch

    # --- clients and operators

    @initialize(news=st.lists(NEWS, min_size=4, max_size=10), wants=WANTS, parks=st.booleans())
    def begin_with(self, news: list[Any], wants: Mapping[str, int], *, parks: bool) -> None:
        """Some jobs, and workers that have taken some of them, or were given what another had parked."""
        self.enqueue(news)
        for worker, hand in self.hands.items():
            self.claim(worker, wants, looks=True)
            for claim in hand.had if parks and worker == REGISTERED else ():
                hand.claims.snooze(claim, delay=20, reason="x", parked=True)
                self.model.snooze(worker, claim, 20_000, parked=True)

    @rule(news=st.lists(NEWS, min_size=1, max_size=4))
    def enqueue(self, news: list[Any]) -> None:
        """New jobs, and such as exist."""
        jobs = [self.new(told) for told in news]
        assert self.world.enqueue(*jobs) == self.model.enqueue(*jobs)

    @rule(number=NUMBERS, states=st.sampled_from([("queued",), ("scheduled",), ("started",), ()]))
    def cancel(self, number: int, states: Sequence[str]) -> None:
        """An operator cancels."""
        job_id, queue = self.some_job(number, states)
        assert self.world.cancel(job_id, queue, keep=RULES[queue].keep_dead) == self.model.cancel(job_id)

    @rule(number=NUMBERS, states=st.sampled_from([("failed",), ("stopped", "canceled"), ("scheduled",), ()]))
    def retry(self, number: int, states: Sequence[str]) -> None:
        """An operator retries."""
        job_id, queue = self.some_job(number, states)
        assert self.world.retry(job_id, queue) == self.model.retry(job_id)

    @rule(job_id=st.sampled_from(IDS))
    def look(self, job_id: str) -> None:
        """An operator counts, and reads a job."""
        states = [(job.queue, REGISTRIES.get(job.state, job.state)) for job in self.model.jobs.values()]
        for counts in self.world.inspection.counts(QUEUES):
            for state in ("queued", "started", "scheduled", "finished", "failed", "canceled"):
                assert getattr(counts, state) == states.count((counts.name, state)), state
        fields, job = self.world.inspection.job(job_id), self.model.jobs.get(job_id)
        assert (fields and (fields.state, fields.queue)) == (job and (job.state, job.queue))

    # --- workers

    def enqueued_at(self, claim: Claimed) -> str:
        """When the job last began to wait."""
        return self.world.hash(claim.id)["enqueued_at"]

    @rule(worker=WHO, wants=WANTS, waits=OFTEN, looks=st.booleans(), dropped=st.booleans())
    def claim(
        self, worker: str, wants: Mapping[str, int], *, waits: bool = False, looks: bool = False, dropped: bool = False
    ) -> None:
        """A worker asks for jobs, or waits for a bell that was rung already; it looks for parked ones or does not."""
        heard = waits and any(wants[queue] for queue in self.model.bells)
        hand, now = self.hands[worker], iso(self.model.now)
        with hand.calling(dropped=dropped) as channel:
            channel._next_look = math.inf
            channel._idle, channel._more_parked = looks, False
            batch = channel.claim(wants, block=PATIENCE if heard else NO_WAIT)
        parked = [(claim, self.model.jobs[claim.id]) for claim in batch.claimed if self.model.jobs[claim.id].parked]
        # One that is given though it is scheduled was offered, or fell due and was queued at this moment.
        offered = [
            claim.id
            for claim, job in parked
            if job.state == "scheduled" and (job.due > self.model.now or self.enqueued_at(claim) != now)
        ]
        self.answered(hand, batch, self.model.claim(worker, wants, heard=heard, looks=looks, found=offered))

    @precondition(lambda self: self.hands_used)
    @rule(
        who=NUMBERS,
        picks=PICKS,
        follow_ups=st.lists(NEWS, max_size=2),
        wants=WANTS,
        dropped=st.booleans(),
        gives=st.booleans(),
    )
    def advance(
        self, who: int, picks: list[Any], follow_ups: list[Any], wants: Mapping[str, int], *, dropped: bool, gives: bool
    ) -> None:
        """A worker finishes jobs, with a result or without, also such as are not its own; it asks for more."""
        worker, hand = self.someone(who)
        batch, follows = self.pick(hand, picks), tuple(self.new(told) for told in follow_ups)
        value = b"1" if gives else b"null"
        done = [done_with(claim, value=value, follow_ups=() if i else follows) for i, claim in enumerate(batch)]
        with hand.calling(dropped=dropped) as channel:
            answered = channel.advance(done, wants)
        self.answered(hand, answered, self.model.advance(worker, batch, follows, wants, gives=gives))

    @precondition(lambda self: self.model.jobs)
    @rule(number=NUMBERS)
    def wait_for(self, number: int) -> None:
        """Somebody waits for a job's end: it will leave an entry, whatever it gives back."""
        job_id = sorted(self.model.jobs)[number % len(self.model.jobs)]
        read = self.world.store.run(operations.read(self.world.store.keys, job_id, waits=True))
        assert read
        assert read[0].state == self.model.jobs[job_id].state
        self.model.wait_for(job_id)

    @precondition(lambda self: any(hand.kept for hand in self.hands.values()))
    @rule(who=NUMBERS)
    def ask_again(self, who: int) -> None:
        """An answer was lost for long: the same comes again, without the jobs that somebody else has had since."""
        hands = [hand for hand in self.hands.values() if hand.kept]
        hand = hands[who % len(hands)]
        assert hand.kept
        _, first = hand.kept
        owned = [claim for claim in first.claimed if self.model.is_owned(claim)]
        assert hand.repeated() == attrs.evolve(first, claimed=owned)

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, pick=PICK, delay=st.none() | DELAYS, counts=st.booleans())
    def fail(self, who: int, pick: Any, delay: int | None, *, counts: bool) -> None:
        """An attempt raises: retried at once, later, or dead."""
        worker, hand = self.someone(who)
        (claim,) = self.pick(hand, [pick])
        seconds = None if delay is None else delay / 1000
        recorded = hand.claims.fail(claim, error=ERROR, delay=seconds, started=1.0, ended=2.0, counts=counts)
        assert recorded == self.model.fail(worker, claim, delay, counts=counts)

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, pick=PICK, delay=DELAYS, parked=st.booleans())
    def snooze(self, who: int, pick: Any, delay: int, *, parked: bool) -> None:
        """An attempt puts its job off."""
        worker, hand = self.someone(who)
        (claim,) = self.pick(hand, [pick])
        delay = max(delay, 1000) if parked else delay
        recorded = hand.claims.snooze(claim, delay=delay / 1000, reason="x", parked=parked)
        assert recorded == self.model.snooze(worker, claim, delay, parked=parked)

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, pick=PICK, state=st.sampled_from(["canceled", "stopped"]))
    def end(self, who: int, pick: Any, state: Literal["canceled", "stopped"]) -> None:
        """An attempt is closed for good, by its processor or by an operator."""
        _, hand = self.someone(who)
        (claim,) = self.pick(hand, [pick])
        recorded = hand.claims.end(claim, state=state, reason="said so", started=1.0, ended=2.0)
        assert recorded == self.model.end(claim, state)

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, picks=PICKS)
    def put_back(self, who: int, picks: list[Any]) -> None:
        """A worker gives jobs back."""
        _, hand = self.someone(who)
        batch = self.pick(hand, picks)
        assert hand.claims.put_back(batch) == self.model.put_back(batch)

    @precondition(lambda self: self.hands_used)
    @rule(who=st.sets(WHO, min_size=1), picks=st.lists(PICK, max_size=2))
    def renew(self, who: set[str], picks: list[Any]) -> None:
        """Workers renew all their leases, and some that they have no more."""
        for name, hand in self.hands_used:
            batch = [*self.pick(hand, picks), *(claim for claim in hand.had if self.model.is_owned(claim))]
            if name in who:
                assert hand.claims.renew(batch) == self.model.renew(batch)

    # --- attempts

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, pick=PICK)
    def begin(self, who: int, pick: Any) -> None:
        """An attempt says that it begins."""
        _, hand = self.someone(who)
        (claim,) = self.pick(hand, [pick])
        assert hand.claims.try_out(claim) == self.model.try_out(claim)

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, pick=PICK, name=st.sampled_from("xy"), value=st.sampled_from("12"))
    def save_step(self, who: int, pick: Any, name: str, value: str) -> None:
        """An attempt keeps a step, new or again."""
        _, hand = self.someone(who)
        (claim,) = self.pick(hand, [pick])
        assert hand.claims.save_step(claim, name, value.encode()) == self.model.save_step(claim, name, value)

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, pick=PICK, percent=st.integers(0, 100))
    def progress(self, who: int, pick: Any, percent: int) -> None:
        """An attempt reports its progress."""
        _, hand = self.someone(who)
        (claim,) = self.pick(hand, [pick])
        assert hand.claims.progress(claim, percent, "on") == self.model.report(claim, f'[{percent}, "on"]')

    @precondition(lambda self: self.hands_used)
    @rule(who=NUMBERS, pick=PICK, news=st.lists(NEWS, min_size=1, max_size=3))
    def enqueue_from_job(self, who: int, pick: Any, news: list[Any]) -> None:
        """An attempt enqueues; who lost its claim enqueues nothing."""
        _, hand = self.someone(who)
        (claim,) = self.pick(hand, [pick])
        jobs = [self.new(told) for told in news]
        if self.model.is_owned(claim):
            assert hand.claims.enqueue(claim, jobs) == self.model.enqueue(*jobs)
        else:
            with pytest.raises(LostClaim):
                hand.claims.enqueue(claim, jobs)

    # --- time, and sweeps

    @rule(seconds=st.sampled_from([1, 10, 16, 31, 60]))
    def expire(self, seconds: int) -> None:
        """Time goes by and nobody sweeps: jobs fall due, leases run out, and their owners know nothing of it."""
        self.model.now += seconds * 1000
        self.world.redis.set("rq:jk:clock", self.model.now)

    @rule(queues=SOME_QUEUES)
    def promote(self, queues: set[str]) -> None:
        """What fell due is queued."""
        for queue in sorted(queues):
            assert self.world.sweeps.promote(queue) == self.model.promote(queue)

    @rule(queues=SOME_QUEUES)
    def rescue(self, queues: set[str]) -> None:
        """What lost its worker is queued again, or is poison."""
        for queue in sorted(queues):
            assert self.world.rescue(queue) == (*self.model.rescue(queue), 0)

    @rule(queues=SOME_QUEUES)
    def trim(self, queues: set[str]) -> None:
        """What retention no longer keeps is deleted."""
        for queue in sorted(queues):
            assert self.world.sweeps.trim(queue, RULES[queue]) == self.model.trim(queue)

    @rule(silences=st.lists(st.sampled_from([5, 14, 16, 31]), max_size=2))
    def sweep(self, silences: list[int]) -> None:
        """All three, as a worker does it, once and after silences: a long one gives the leases a grace."""
        self.sweep_once()
        for silence in silences:
            self.expire(silence)
            self.sweep_once()

    def sweep_once(self) -> None:
        self.model.stamp()
        promoted = rescued = poisoned = trimmed = 0
        for queue in QUEUES:
            promoted += self.model.promote(queue)
            saved, lost = self.model.rescue(queue)
            rescued, poisoned = rescued + saved, poisoned + lost
            trimmed += self.model.trim(queue)
        report = self.world.sweeps.sweep()
        assert report == SweepReport(promoted=promoted, rescued=rescued, poisoned=poisoned, trimmed=trimmed)

    @rule(worker=WHO, times=st.integers(1, BUDGET + 1), begins=st.booleans())
    def die(self, worker: str, times: int, *, begins: bool) -> None:
        """A worker takes what it gets and dies, begun or not; so does the next of its name."""
        hand, wants = self.hands[worker], dict.fromkeys(QUEUES, 2)
        for _ in range(times):
            self.claim(worker, wants)
            for claim in hand.had if begins else ():
                assert hand.claims.try_out(claim) == self.model.try_out(claim)
            self.expire(31)
            self.rescue(set(QUEUES))

    # --- what holds after each of them

    @invariant()
    def agrees(self) -> None:
        """Every key is there that the model says, with what it says, and no other."""
        there, model = found(self.world.redis, self.model.now), expected(self.model)
        assert there.less(model) == model.less(there)

    @invariant()
    def is_in_one_place(self) -> None:
        """Each job is in one list or registry of one queue, once."""
        places = [job_id for queue in QUEUES for job_id in self.model.waiting[queue]]
        places += [job_id for ranked in self.model.ranks.values() for _, job_id in ranked]
        jobs = self.model.jobs.items()
        places += [job_id for job_id, job in jobs if job.token or job.state == "scheduled"]
        assert sorted(places) == sorted(self.model.jobs)

    @invariant()
    def nobody_sleeps_beside_work(self) -> None:
        """Where a job waits, the bell is rung."""
        assert {queue for queue in QUEUES if self.model.waiting[queue]} <= self.model.bells


def test_scripts_do_what_the_model_does(both_servers: str) -> None:
    """Nothing acknowledged is lost, owned twice or left over, whatever is called in whatever order."""
    machine: Any = type("Bound", (Machine,), {"url": both_servers})
    # After ten examples Hypothesis goes on to vary these: many short searches see more than a long one.
    for _ in range(LONG if settings.get_current_profile_name() == "long" else SHORT):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=10,
                stateful_step_count=40,
                deadline=None,
                derandomize=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
