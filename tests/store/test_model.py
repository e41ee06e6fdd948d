"""Any sequence of calls leaves every acknowledged job in one place, with one owner at most, as the model says."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobkit.store.records import Claimed, QueueRules
from tests.store.model import KEEP, Model, ModelJob
from tests.store.world import World

A_DAY = 86_400_000
IDS = st.sampled_from([f"j{i}" for i in range(12)])
DELAYS = st.sampled_from([0, 1000, 20_000])
PICKS = st.lists(st.integers(0, 1000), min_size=1, max_size=5)
RANKS = {"finished": "done", "failed": "dead", "canceled": "gone"}


class Machine(RuleBasedStateMachine):
    """Drives the scripts and the model alike. Claims of earlier owners are kept, and used again."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.url, {"a": QueueRules(keep_done=KEEP, keep_dead=KEEP)})
        self.world.redis.flushall()
        # A day ahead of the server's clock, the scripts' clock moves only when it is told to.
        self.model = Model(self.world.now_ms() + A_DAY)
        self.world.redis.set("rq:jk:clock", self.model.now)
        self.claims: list[Claimed] = []

    def teardown(self) -> None:
        self.world.close()

    def pick(self, picks: list[int]) -> list[Claimed]:
        """Some claims, old and new, each once."""
        return list({claim.token: claim for claim in (self.claims[-1 - n % len(self.claims)] for n in picks)}.values())

    def took(self, claimed: list[Claimed], expected: list[str]) -> None:
        assert [claim.id for claim in claimed] == expected
        for claim in claimed:
            job = self.model.jobs[claim.id]
            assert (claim.epoch, claim.failed, claim.rescues) == (job.epoch, job.failed, job.rescues)
            job.token = claim.token
            assert self.world.claims.try_out(claim)
        self.claims += claimed

    @rule(job_id=IDS, delay=DELAYS)
    def enqueue(self, job_id: str, delay: int) -> None:
        """A new job, or one that exists."""
        assert self.world.enqueue(self.world.new(job_id, delay_ms=delay)) == [self.model.enqueue(job_id, delay)]

    @rule(want=st.integers(1, 5))
    def claim(self, want: int) -> None:
        """A worker asks for jobs."""
        self.took(self.world.claim(want), self.model.claim(want))

    @precondition(lambda self: self.claims)
    @rule(picks=PICKS, follow_ups=st.lists(IDS, max_size=2, unique=True), want=st.integers(0, 3))
    def advance(self, picks: list[int], follow_ups: list[str], want: int) -> None:
        """A worker finishes jobs, also such as are no longer its own, and asks for more."""
        batch = self.pick(picks)
        follows = tuple(self.world.new(job_id) for job_id in follow_ups)
        answer = self.world.finish(*batch, follow_ups=follows, want=want)
        lost, claimed = self.model.advance(pairs(batch), follow_ups, want)
        assert answer.lost == lost
        self.took(answer.claimed, claimed)

    @precondition(lambda self: self.claims)
    @rule(picks=PICKS, delay=st.none() | DELAYS)
    def fail(self, picks: list[int], delay: int | None) -> None:
        """An attempt raises: retried at once, later, or dead."""
        claim = self.pick(picks)[0]
        recorded = self.world.fail(claim, delay=None if delay is None else delay / 1000)
        assert recorded == self.model.fail(claim.id, claim.token, delay)

    @precondition(lambda self: self.claims)
    @rule(picks=PICKS, delay=DELAYS)
    def snooze(self, picks: list[int], delay: int) -> None:
        """An attempt puts its job off."""
        claim = self.pick(picks)[0]
        recorded = self.world.claims.snooze(claim, delay=delay / 1000, reason="x")
        assert recorded == self.model.snooze(claim.id, claim.token, delay)

    @precondition(lambda self: self.claims)
    @rule(picks=PICKS)
    def put_back(self, picks: list[int]) -> None:
        """A worker gives jobs back."""
        batch = self.pick(picks)
        assert sorted(self.world.claims.put_back(batch)) == sorted(self.model.put_back(pairs(batch)))

    @precondition(lambda self: self.claims)
    @rule(picks=PICKS)
    def renew(self, picks: list[int]) -> None:
        """A worker renews its leases."""
        batch = self.pick(picks)
        assert self.world.claims.renew(batch) == self.model.renew(pairs(batch))

    @rule(job_id=IDS)
    def cancel(self, job_id: str) -> None:
        """An operator cancels."""
        assert self.world.cancel(job_id, keep=KEEP) == self.model.cancel(job_id)

    @rule(job_id=IDS)
    def retry(self, job_id: str) -> None:
        """An operator retries."""
        assert self.world.retry(job_id) == self.model.retry(job_id)

    @rule(seconds=st.sampled_from([1, 15, 31]))
    def pass_time(self, seconds: int) -> None:
        """Time goes by, and what is due or late is swept."""
        self.model.now += seconds * 1000
        self.world.redis.set("rq:jk:clock", self.model.now)
        self.world.sweeps.promote("a")
        self.model.promote()
        rescued, poisoned, released = self.world.rescue()
        assert (rescued, poisoned, released) == (*self.model.rescue(), 0)

    @invariant()
    def agrees(self) -> None:
        """Every key of the queue and of its jobs is what the model says; there is no other."""
        jobs, redis = self.model.jobs, self.world.redis
        assert self.world.waiting() == self.model.waiting
        owned = {f"{job_id}:{job.token}" for job_id, job in jobs.items() if job.token}
        assert self.world.members("rq:jk:lease:a") == self.world.members("rq:wip:a") == owned
        assert self.world.members("rq:scheduled:a") == {j for j, job in jobs.items() if job.state == "scheduled"}
        for state, rank in RANKS.items():
            listed = [
                (int(ms), job_id.decode()) for job_id, ms in redis.zrange(f"rq:jk:{rank}:a", 0, -1, withscores=True)
            ]
            assert listed == self.model.ranks[state]
            assert self.world.members(f"rq:{state}:a") == {job_id for _, job_id in listed}
        keys = {key for key in self.world.all_keys() if not key.startswith(("rq:jk:", "rq:queue"))}
        assert {key for key in keys if not key.endswith(":a")} == set().union(
            *(kept(j, job) for j, job in jobs.items())
        )
        with redis.pipeline(transaction=False) as pipeline:
            for job_id in jobs:
                pipeline.hmget(f"rq:job:{job_id}", "status", "jk_token", "jk_failed", "jk_exec")
                pipeline.xlen(f"rq:results:{job_id}")
            answers = pipeline.execute()
        for job, found, results in zip(jobs.values(), answers[::2], answers[1::2], strict=True):
            status, token, failed, execution = (field and field.decode() for field in found)
            assert (status, token, int(failed or 0), bool(execution)) == (job.state, job.token, job.failed, job.renewed)
            assert results == min(job.results, 10)
        assert redis.exists("rq:jk:bell:a") or not self.model.waiting


def pairs(batch: list[Claimed]) -> list[tuple[str, str]]:
    """Ids and tokens."""
    return [(claim.id, claim.token) for claim in batch]


def kept(job_id: str, job: ModelJob) -> set[str]:
    """The keys of a job's own."""
    keys = {f"rq:job:{job_id}"}
    if job.results:
        keys.add(f"rq:results:{job_id}")
    if job.renewed:
        keys |= {f"rq:executions:{job_id}", f"rq:execution:{job_id}:{job.token}", "rq:worker:w1:executions"}
    return keys


def test_scripts_do_what_the_model_does(both_servers: str) -> None:
    """Nothing acknowledged is lost, owned twice or left over, whatever is called in whatever order."""
    machine: Any = type("Bound", (Machine,), {"url": both_servers})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
