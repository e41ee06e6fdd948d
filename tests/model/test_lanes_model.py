"""Any calls in any order keep what lanes and limits promise, and in the end every job has run."""

from collections import Counter, defaultdict
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from rq.exceptions import NoSuchJobError
from rq.job import Job

from jobkit.store.claims import Claims
from jobkit.store.records import Claimed, QueueRules
from tests.store.lanes import Line
from tests.store.world import World, done_with

SHORT, LONG = 2, 100
"""Searches of ten examples, by Hypothesis profile."""
KEEP = QueueRules(keep_done=10_000, keep_dead=10_000)
QUEUES = ("c", "d")
RULES = {
    "c": {"keyed": {"run/t": [2], "rate/t": [3, 20_000]}, "rate": [[6, 10_000], [25, 60_000]], "weights": {"f1": 3}},
    "d": {"run": 2, "keyed": {"rate/u": [2, 8000]}},
}
OTHER_RULES = {"c": {"keyed": {"run/t": [1]}, "rate": [[4, 10_000]]}, "d": {"keyed": {}}}
WORKERS = ("w1", "w2", "w3")
NUMBERS = st.integers(0, 999)
QUEUE = st.sampled_from(QUEUES)
# Several limits, one, a mutex over both queues, none; few values, so that they meet.
PIECES = {
    "c": st.tuples(
        st.sampled_from([(), ("run/t=1", "rate/t=1"), ("run/t=2", "rate/t=2"), ("run/t=1",)]),
        st.sampled_from([(), (), ("mutex=m",), ("mutex=k",)]),
    ),
    "d": st.tuples(st.sampled_from([(), ("rate/u=1",)]), st.sampled_from([(), ("mutex=m",)])),
}


class Lanes(RuleBasedStateMachine):
    """Three workers on two laned queues, some of which are killed; clients, operators, RQ's tools, sweeps."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.url, dict.fromkeys(QUEUES, KEEP))
        self.world.redis.flushall()
        self.line = Line(self.world)
        self.claims = {name: Claims(self.world.store, name, self.world.rules, lease=30) for name in WORKERS}
        self.channels = {name: each.channel("c") for name, each in self.claims.items()}
        self.running: list[tuple[str, Claimed]] = []
        self.pieces: dict[str, tuple[str, ...]] = {}
        self.began: dict[str, list[int]] = defaultdict(list)
        self.gone: set[str] = set()
        self.rules: Any = RULES
        self.changed = False
        for queue, told in RULES.items():
            self.line.rule(queue, **told)

    def teardown(self) -> None:
        """Let all run that waits, then close."""
        try:
            self.drain()
        finally:
            for channel in self.channels.values():
                channel.close()
            self.world.close()

    # --- clients

    @rule(queue=QUEUE, data=st.data(), fair=st.sampled_from(["", "f1", "f2"]), boost=st.sampled_from([0, 0, 5000]))
    def enqueue(self, queue: str, data: Any, fair: str, boost: int) -> None:
        """A few jobs into one lane, or without one, some of them for later."""
        limits, mutex = data.draw(PIECES[queue])
        many, delay = data.draw(st.sampled_from([(1, 0), (3, 0), (1, 4000)]))
        news = []
        for _ in range(many):
            job_id = f"j{len(self.pieces)}"
            if limits or mutex or fair:
                news.append(self.line.new(job_id, *limits, *mutex, fair=fair, queue=queue, boost=boost, delay_ms=delay))
            else:
                news.append(self.world.new(job_id, queue, delay_ms=delay))
            self.pieces[job_id] = (queue, *limits, *mutex)
        assert all(self.world.enqueue(*news))

    @precondition(lambda self: self.pieces)
    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        """An operator ends a job, wherever it is."""
        job_id = self.pick(number)
        if self.world.cancel(job_id, self.pieces[job_id][0]) == "canceled":
            self.gone.add(job_id)

    @precondition(lambda self: self.pieces)
    @rule(number=NUMBERS)
    def retry(self, number: int) -> None:
        """An operator gives a job a new life."""
        job_id = self.pick(number)
        if self.world.retry(job_id, self.pieces[job_id][0]) == "queued":
            self.gone.discard(job_id)

    @precondition(lambda self: self.pieces)
    @rule(number=NUMBERS, how=st.sampled_from(["cancel", "delete"]))
    def by_rq(self, number: int, how: str) -> None:
        """RQ's tools cancel or delete a job, wherever it is."""
        job_id = self.pick(number)
        try:
            job = Job.fetch(job_id, connection=self.world.redis, serializer="json")
        except NoSuchJobError:
            return
        if job.get_status() in {"canceled", "finished", "failed"}:
            return
        getattr(job, how)()
        self.gone.add(job_id)

    @rule(other=st.booleans())
    def change_rules(self, *, other: bool) -> None:
        """A release puts its rules in force."""
        self.rules = OTHER_RULES if other else RULES
        self.changed = True
        for queue, told in self.rules.items():
            self.line.rule(queue, **told)

    # --- workers

    @rule(worker=st.sampled_from(WORKERS), first=st.booleans(), want=st.integers(1, 4))
    def claim(self, worker: str, want: int, *, first: bool) -> None:
        """A worker asks for jobs of both queues, or of one."""
        wants = dict.fromkeys(QUEUES, want) if first else {"c": want}
        self.began_now(worker, self.channels[worker].claim(wants, block=0).claimed)

    @precondition(lambda self: self.running)
    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=3), want=st.integers(0, 3))
    def finish(self, numbers: list[int], want: int) -> None:
        """A worker finishes some and asks for more."""
        worker = self.running[numbers[0] % len(self.running)][0]
        own = [each for name, each in self.running if name == worker]
        batch = list({own[number % len(own)].token: own[number % len(own)] for number in numbers}.values())
        got = self.channels[worker].advance([done_with(each) for each in batch], dict.fromkeys(QUEUES, want))
        self.running = [each for each in self.running if each[1] not in batch]
        self.gone |= {each.id for each in batch if each.token not in got.lost}
        self.began_now(worker, got.claimed)

    @precondition(lambda self: self.running)
    @rule(number=NUMBERS, how=st.sampled_from(["retry", "later", "dead", "snooze", "back", "end", "forget"]))
    def end(self, number: int, how: str) -> None:
        """An attempt ends otherwise, or its worker dies."""
        worker, claimed = self.running.pop(number % len(self.running))
        claims = self.claims[worker]
        if how in {"retry", "later", "dead"}:
            delay = {"retry": 0, "later": 3, "dead": None}[how]
            kept = claims.fail(claimed, error="x", delay=delay, started=1.0, ended=2.0)
            if kept and how == "dead":
                self.gone.add(claimed.id)
        elif how == "snooze":
            claims.snooze(claimed, delay=2, reason="x")
        elif how == "back":
            claims.put_back([claimed])
        elif how == "end" and claims.end(claimed, state="canceled", reason="x", started=1.0, ended=2.0):
            self.gone.add(claimed.id)

    @rule(seconds=st.sampled_from([0.001, 1, 5, 31]))
    def pass_time(self, seconds: float) -> None:
        """Time goes on; workers renew what they run."""
        self.line.world.pass_time(seconds)
        for worker, claims in self.claims.items():
            own = [each for name, each in self.running if name == worker]
            lost = claims.renew(own) if own else set()
            self.running = [each for each in self.running if each[1].token not in lost]

    @rule()
    def sweep(self) -> None:
        """Somebody sweeps."""
        self.line.sweep()

    # --- what holds

    def pick(self, number: int) -> str:
        """The id of a job."""
        return f"j{number % len(self.pieces)}"

    def began_now(self, worker: str, claims: list[Claimed]) -> None:
        """Note attempts that began, and hold the windows."""
        now = self.world.now_ms()
        for claimed in claims:
            self.running.append((worker, claimed))
            queue, *pieces = self.pieces[claimed.id]
            for name in (f"{queue}/", *(f"{queue}/{each}" for each in pieces if each.startswith("rate"))):
                self.began[name].append(now)
        if self.changed:
            return
        for queue, told in RULES.items():
            for count, per in told.get("rate", []):
                assert self.within(f"{queue}/", per) <= count
            for kind, (count, *per) in told["keyed"].items():
                for name in self.began:
                    if per and name.startswith(f"{queue}/{kind}="):
                        assert self.within(name, per[0]) <= count

    def within(self, name: str, per: int) -> int:
        """How many began in the latest window."""
        now = self.world.now_ms()
        return sum(at > now - per for at in self.began[name])

    @invariant()
    def limits_hold(self) -> None:
        """By the leases, no limit has more than it admits; a mutex has one over all queues."""
        held: Counter[str] = Counter()
        for queue in QUEUES:
            for member in self.world.members(f"rq:jk:lease:{queue}"):
                job_id = member.rpartition(":")[0]
                held[queue] += 1
                for piece in self.pieces[job_id][1:]:
                    held[piece if piece.startswith("mutex=") else f"{queue}/{piece}"] += 1
        for name, count in held.items():
            if name.startswith("mutex="):
                assert count == 1, name
            elif name.startswith("c/run"):
                assert count <= 2, name
        assert self.changed or held["d"] <= 2

    @invariant()
    def lanes_hold(self) -> None:
        """A lane with jobs is shown or blocked, and each living job is in one place."""
        self.line.check(QUEUES)
        waiting: Counter[str] = Counter()
        r = self.world.redis
        for queue in QUEUES:
            deferred = self.world.members(f"rq:deferred:{queue}")
            laned = set()
            for key in self.world.all_keys():
                if key.startswith(f"rq:jk:lane:{queue}/"):
                    laned |= self.world.members(key)
            leases = {each.rpartition(":")[0] for each in self.world.members(f"rq:jk:lease:{queue}")}
            queued = set(self.world.waiting(queue))
            scheduled = self.world.members(f"rq:scheduled:{queue}")
            for job_id, (home, *_) in self.pieces.items():
                if home != queue or job_id in self.gone:
                    continue
                status = (r.hget(f"rq:job:{job_id}", "status") or b"").decode()
                place = {
                    "queued": queued,
                    "deferred": laned & deferred,
                    "scheduled": scheduled,
                    "started": leases,
                }.get(status)
                assert place is not None, (job_id, status)
                assert job_id in place, (job_id, status)
                waiting[job_id] += 1
        assert all(count == 1 for count in waiting.values())

    def drain(self) -> None:
        """All that lives runs to its end when time goes on and sweeps run, and leaves nothing."""
        self.running = []
        for _ in range(400):
            # Hints of jobs that are gone go when their lane's turn or permit comes.
            if len(self.gone) == len(self.pieces) and not self.line.left():
                break
            self.line.sweep()
            batch = self.channels["w1"].claim(dict.fromkeys(QUEUES, 50), block=0).claimed
            self.began_now("w1", batch)
            self.lanes_hold()
            self.limits_hold()
            self.gone |= {each.id for each in batch}
            self.channels["w1"].advance([done_with(each) for each in batch], {})
            self.running = []
            self.world.pass_time(2.5)
        assert {*self.pieces} == self.gone
        assert self.line.left() == set()
        assert not self.world.redis.exists(*(f"rq:deferred:{queue}" for queue in QUEUES))


def test_lanes(both_servers: str) -> None:
    """Places, windows and mutexes hold through kills, cancels, deletes and new rules, and all runs in the end."""

    class Here(Lanes):
        url = both_servers

    # After ten examples Hypothesis goes on to vary these: many short searches see more than a long one.
    for _ in range(LONG if settings.get_current_profile_name() == "long" else SHORT):
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=10,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
