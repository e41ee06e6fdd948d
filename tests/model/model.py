"""A small model of the store: where each job is, and who owns it. Times are in ms.

A token owns: the model knows jobs by it alone, and whoever brings another is refused. Each public method is one
script, or one wait.
"""

import json
from collections.abc import Mapping, Sequence

import attrs

from jobkit.store.records import Claimed, NewJob
from jobkit.store.sweeps import _POISON as POISON
from tests.model.job import (
    BUDGET,
    FAILED,
    FINISHED,
    LEASE,
    OUTAGE,
    QUEUES,
    RANK_OF,
    RELEASES,
    RETRIED,
    RULES,
    STOPPED,
    Answer,
    ModelJob,
)
from tests.model.places import Places


@attrs.define
class Model(Places):
    """What the scripts promise, in Python."""

    # --- what a client does

    def enqueue(self, *news: NewJob) -> list[bool | str]:
        """New jobs, or such as exist."""
        pushes: list[NewJob] = []
        created = [self._write(new, pushes) for new in news]
        self._push(pushes)
        return created

    def _write(self, new: NewJob, pushes: list[NewJob]) -> bool | str:
        if new.id in self.jobs:
            return False
        due = self.now + new.delay_ms if new.delay_ms else new.due_ms
        key = ""
        if new.flow:
            told = json.loads(new.flow)["d"]
            key, mode, within = told["k"], told["m"], told["w"] or 0
            bound = self._bound((new.queue, key), mode, within)
            if bound:
                return bound != new.id and bound
            due = self.now + within if mode == "debounce" else due
            self.keys[new.queue, key] = self.now, new.id
        self.jobs[new.id] = job = ModelJob(new.queue, "queued", self.now, key)
        if due > self.now:
            job.state, job.due = "scheduled", due
        else:
            job.enqueued = self.now
        pushes.append(new)
        return True

    def _bound(self, key: tuple[str, str], mode: str, within: int) -> str | None:
        """The job that stands for a new one of this key; one that a debounce finds waiting waits anew."""
        when, job_id = self.keys.get(key, (0, ""))
        if mode == "throttle":
            return job_id if self.now < when + within else None
        job = self.jobs.get(job_id)
        if job is None or (job.queue, job.key) != key or job.state in RANK_OF:
            return None
        if mode == "debounce":
            if job.state != "scheduled" or job.enqueued:
                return None
            if self.now + within < job.due:
                self.bells.add(job.queue)
            job.due = self.now + within
            self.keys[key] = self.now, job_id
        return job_id

    def _push(self, news: Sequence[NewJob]) -> None:
        """A batch is pushed once all of it is written; who sleeps must learn of a due time as well."""
        for new in news:
            self.bells.add(new.queue)
            if self.jobs[new.id].state == "queued":
                self.waiting[new.queue].append(new.id)

    def cancel(self, job_id: str) -> str:
        """An operator ends a job."""
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.state in RANK_OF:
            return "ended"
        if job.state == "queued":
            self.waiting[job.queue].remove(job_id)
        self._unpark(job)
        job.reason = "not wanted"
        self._end(job_id, "canceled", STOPPED)
        return "canceled"

    def retry(self, job_id: str) -> str:
        """An operator gives a job a new life, or brings it forward."""
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.state in {"queued", "started", "finished"}:
            return "waiting" if job.state == "queued" else job.state
        if job.state in RANK_OF:
            rank = self.ranks[RANK_OF[job.state], job.queue]
            rank[:] = [entry for entry in rank if entry[1] != job_id]
            job.failed = job.rescues = job.ended = 0
            job.died, job.reason, job.error, job.progress = [], None, None, None
        self._unpark(job)
        job.worker = None
        self._queue(job_id)
        return "queued"

    # --- what a worker does

    def claim(
        self, worker: str, wants: Mapping[str, int], *, heard: bool, looks: bool = False, found: Sequence[str] = ()
    ) -> Answer:
        """A worker asks for jobs; `heard`: it waited for a bell first.

        Where it `looks` for what other releases have parked, it may have `found` any, and all that it wants.
        """
        for queue, want in wants.items():
            offered = {
                job_id
                for job_id, job in self.jobs.items()
                if (job.queue, job.state) == (queue, "scheduled") and job.parked
            } - {job_id for job_id, job in self.jobs.items() if RELEASES[worker] in job.parked_by}
            sure = [j for j in offered if self.jobs[j].is_offered and self.jobs[j].due > self.now]
            got = [job_id for job_id in found if self.jobs[job_id].queue == queue]
            assert offered.issuperset(got)
            assert not looks or len(got) >= min(want, len(sure))
            assert looks or not got
        if heard:
            rung = next((queue for queue in QUEUES if wants.get(queue) and queue in self.bells), None)
            self.bells.discard(rung or "")
        return self._claim(worker, wants, found)

    def _claim(self, worker: str, wants: Mapping[str, int], found: Sequence[str] = ()) -> Answer:
        claimed: list[str] = []
        waits: list[int] = []
        for queue, want in wants.items():
            if want <= 0:
                continue
            first = [job_id for job_id in found if self.jobs[job_id].queue == queue]
            for job_id in first:
                self.jobs[job_id].state = "started"
            self._promote(queue)
            waiting, want_more = self.waiting[queue], want - len(first)
            got, waiting[:] = waiting[:want_more], waiting[want_more:]
            for job_id in first + got:
                job = self.jobs[job_id]
                job.state, job.worker, job.lease_end, job.epoch = "started", worker, self.now + LEASE, job.epoch + 1
                job.told = job.told or job.epoch > 1
            if waiting:
                self.bells.add(queue)
            due = [job.due for job in self.jobs.values() if (job.queue, job.state) == (queue, "scheduled")]
            if len(got) < want_more and due:
                waits.append(max(1, min(due) - self.now))
            elif len(got) < want_more:
                self.bells.discard(queue)
            claimed += first + got
        if claimed:
            self.kept_replies.add(worker)
        return Answer(claimed, [], min(waits, default=None), kept=bool(claimed))

    def granted(self, claim: Claimed) -> None:
        """The server has named the token of a claim."""
        self.jobs[claim.id].token = claim.token

    def wait_for(self, job_id: str) -> None:
        """Somebody waits for the job's end."""
        job = self.jobs[job_id]
        job.told = job.told or job.state not in RANK_OF

    def is_owned(self, claim: Claimed) -> bool:
        """Whether the claim's token owns its job."""
        return self.standing(claim) == "own"

    def standing(self, claim: Claimed) -> str:
        """'own', 'done' (this very token ended its attempt) or 'lost'."""
        job = self.jobs.get(claim.id)
        if job is None:
            return "lost"
        if job.token == claim.token:
            return "own" if job.queue == claim.queue else "lost"
        return "done" if claim.token in {job.done, job.finished_by} else "lost"

    def advance(
        self,
        worker: str,
        batch: Sequence[Claimed],
        follow_ups: Sequence[NewJob],
        wants: Mapping[str, int],
        *,
        gives: bool,
    ) -> Answer:
        """A worker finishes a batch, the follow-ups being the first one's, and asks for more."""
        lost: list[str] = []
        pushes: list[NewJob] = []
        queues: set[str] = set()
        for index, claim in enumerate(batch):
            standing = self.standing(claim)
            if standing == "lost":
                lost.append(claim.token)
            elif standing == "own":
                job = self.jobs[claim.id]
                self._unpark(job)
                job.finished_by, job.reason, job.steps = claim.token, None, {}
                self._end(claim.id, "finished", FINISHED, trim=False, told=gives or job.told)
                job.gave = job.gave or gives
                self._count(worker, "successful_job_count")
                queues.add(claim.queue)
                for follow_up in follow_ups if index == 0 else ():
                    self._write(follow_up, pushes)
        for queue in queues:
            self._trim_count("done", queue, RULES[queue].keep_done)
        self._push(pushes)
        answer = self._claim(worker, wants)
        if queues:
            self.kept_replies.add(worker)
            answer.kept = True
        answer.lost = lost
        return answer

    def fail(self, worker: str, claim: Claimed, delay: int | None, *, counts: bool) -> bool:
        """An attempt raised; None is the dead letters."""
        standing = self.standing(claim)
        if standing == "own":
            job = self.jobs[claim.id]
            self._unpark(job)
            job.done, job.reason, job.error = claim.token, None, "ValueError: no"
            job.failed += counts
            self._count(worker, "failed_job_count")
            if delay is None:
                self._end(claim.id, "failed", FAILED)
            else:
                job.results.append((RETRIED, claim.token))
                self._queue(claim.id, delay=delay)
        return standing != "lost"

    def snooze(self, worker: str, claim: Claimed, delay: int, *, parked: bool) -> bool:
        """An attempt puts its job off. A parked job rings for nobody."""
        standing = self.standing(claim)
        if standing == "own":
            job = self.jobs[claim.id]
            job.done, job.reason = claim.token, "x"
            self._park(job, worker, delay) if parked else self._unpark(job)
            self._release(job)
            job.state, job.due = "scheduled", self.now + delay
            if not parked:
                self.bells.add(job.queue)
        return standing != "lost"

    def end(self, claim: Claimed, state: str) -> bool:
        """An attempt is closed for good."""
        standing = self.standing(claim)
        if standing == "own":
            job = self.jobs[claim.id]
            self._unpark(job)
            job.done, job.reason = claim.token, "said so"
            self._end(claim.id, state, STOPPED)
        return standing != "lost"

    def put_back(self, batch: Sequence[Claimed]) -> list[str]:
        """A worker gives jobs back; answers the lost tokens."""
        lost = []
        for claim in reversed(batch):
            standing = self.standing(claim)
            if standing == "lost":
                lost.append(claim.token)
            elif standing == "own":
                job = self.jobs[claim.id]
                job.done = claim.token
                self._release(job)
                job.worker = None
                self._to_front(claim.id)
        return lost

    def renew(self, batch: Sequence[Claimed]) -> set[str]:
        """A worker extends its leases; answers the lost tokens."""
        lost = set()
        for claim in batch:
            standing = self.standing(claim)
            if standing == "own":
                self.jobs[claim.id].lease_end, self.jobs[claim.id].renewed = self.now + LEASE, True
            elif standing == "lost":
                lost.add(claim.token)
        return lost

    def try_out(self, claim: Claimed) -> bool:
        """An attempt is about to begin."""
        if self.is_owned(claim):
            self.jobs[claim.id].tried = claim.token
            return True
        return False

    def save_step(self, claim: Claimed, name: str, value: str) -> bool:
        """An attempt keeps a step."""
        if self.is_owned(claim):
            self.jobs[claim.id].steps[name] = value
            self.jobs[claim.id].saves += 1
            return True
        return False

    def report(self, claim: Claimed, progress: str) -> bool:
        """An attempt reports its progress."""
        if self.is_owned(claim):
            self.jobs[claim.id].progress = progress
            return True
        return False

    # --- what time and sweeps do

    def promote(self, queue: str) -> int:
        """Queue what fell due."""
        self.promoted.add(queue)
        moved = self._promote(queue)
        if moved:
            self.bells.add(queue)
        return moved

    def _promote(self, queue: str) -> int:
        """Suspects to the front: there they were when they were rescued."""
        due = sorted(
            (job.due, job_id) for job_id, job in self.jobs.items() if (job.queue, job.state) == (queue, "scheduled")
        )
        ready = [job_id for when, job_id in due if when <= self.now]
        for job_id in ready:
            self.jobs[job_id].state, self.jobs[job_id].enqueued = "queued", self.now
        first = [job_id for job_id in ready if self.jobs[job_id].rescues]
        self.waiting[queue] = first + self.waiting[queue] + [job_id for job_id in ready if job_id not in first]
        return len(ready)

    def rescue(self, queue: str) -> tuple[int, int]:
        """Take jobs from workers whose lease ran out; answers how many live on, and how many were poison."""
        if self.grace > self.now:
            return 0, 0
        late = sorted(
            (job.lease_end, f"{job_id}:{job.token}", job_id)
            for job_id, job in self.jobs.items()
            if job.queue == queue and job.token and job.lease_end <= self.now
        )
        poisoned = 0
        for _, _, job_id in reversed(late):
            job = self.jobs[job_id]
            if not job.rescues or job.tried == job.token or ":" in job_id:
                job.rescues += 1
                job.died.append(str(job.worker))
            if job.rescues > BUDGET:
                job.error = POISON
                job.reason = f"the workers that died with it: {', '.join(job.died)}"
                self._end(job_id, "failed", FAILED, trim=False)
                poisoned += 1
            else:
                self._release(job)
                self._to_front(job_id)
        if poisoned:
            self._trim_count("dead", queue, RULES[queue].keep_dead)
        return len(late) - poisoned, poisoned

    def trim(self, queue: str) -> int:
        """Delete what retention no longer keeps; answers how many."""
        rule = RULES[queue]
        kept = {
            "done": (rule.keep_done, rule.done_age_ms),
            "dead": (rule.keep_dead, rule.dead_age_ms),
            "gone": (rule.keep_dead, rule.dead_age_ms),
        }
        trimmed = 0
        for rank, (keep, age) in kept.items():
            if age:
                old = sum(when <= self.now - age for when, _ in self.ranks[rank, queue])
                trimmed += self._forget(rank, queue, old)
            trimmed += self._trim_count(rank, queue, keep)
        return trimmed

    def stamp(self) -> None:
        """A sweep begins; after a silence the leases get a grace."""
        if self.swept and self.now - self.swept > OUTAGE:
            self.grace = self.now + OUTAGE
        self.swept = self.now
