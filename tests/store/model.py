"""A small model of the store: where each job is, and who owns it. Time is in ms."""

import attrs

KEEP = 4
LEASE = 30_000
BUDGET = 3


@attrs.define
class ModelJob:
    state: str = "queued"
    due: int = 0
    token: str | None = None
    lease_end: int = 0
    done: str | None = None
    failed: int = 0
    rescues: int = 0
    epoch: int = 0
    results: int = 0
    renewed: bool = False

    def release(self, state: str, *, done: bool = True) -> None:
        """The claim ends and the job goes on to a state."""
        if done:
            self.done = self.token
        self.token, self.renewed, self.state = None, False, state


@attrs.define
class Model:
    """What the scripts promise, in Python: each method is a transition."""

    now: int
    jobs: dict[str, ModelJob] = attrs.field(factory=dict)
    waiting: list[str] = attrs.field(factory=list)
    ranks: dict[str, list[tuple[int, str]]] = attrs.field(
        factory=lambda: {"finished": [], "failed": [], "canceled": []}
    )

    def enqueue(self, job_id: str, delay: int) -> bool:
        if job_id in self.jobs:
            return False
        self.jobs[job_id] = ModelJob()
        self._wait(job_id, delay)
        return True

    def _wait(self, job_id: str, delay: int) -> None:
        job = self.jobs[job_id]
        if delay > 0:
            job.state, job.due = "scheduled", self.now + delay
        else:
            job.state = "queued"
            self.waiting.append(job_id)

    def promote(self) -> None:
        due = sorted((job.due, job_id) for job_id, job in self.jobs.items() if job.state == "scheduled")
        ready = [job_id for when, job_id in due if when <= self.now]
        for job_id in ready:
            self._wait(job_id, 0)
        suspects = [job_id for job_id in ready if self.jobs[job_id].rescues]
        self.waiting = suspects + [job_id for job_id in self.waiting if job_id not in suspects]

    def claim(self, want: int) -> list[str]:
        if want <= 0:
            return []
        self.promote()
        got, self.waiting = self.waiting[:want], self.waiting[want:]
        for job_id in got:
            job = self.jobs[job_id]
            job.state, job.lease_end = "started", self.now + LEASE
            job.epoch += 1
        return got

    def standing(self, job_id: str, token: str) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "lost"
        if job.token == token:
            return "own"
        return "done" if job.done == token else "lost"

    def _end(self, job_id: str, state: str) -> None:
        self.jobs[job_id].results += 1
        self.ranks[state].append((self.now, job_id))
        self.ranks[state].sort()

    def _trim(self, state: str) -> None:
        while len(self.ranks[state]) > KEEP:
            _, job_id = self.ranks[state].pop(0)
            del self.jobs[job_id]

    def advance(self, batch: list[tuple[str, str]], follow_ups: list[str], want: int) -> tuple[list[str], list[str]]:
        """Finish (id, token) each, the follow-ups being the first one's; gives the lost tokens and what is claimed."""
        lost = []
        for index, (job_id, token) in enumerate(batch):
            standing = self.standing(job_id, token)
            if standing == "lost":
                lost.append(token)
            elif standing == "own":
                self.jobs[job_id].release("finished")
                self._end(job_id, "finished")
                if index == 0:
                    for follow in follow_ups:
                        self.enqueue(follow, 0)
        self._trim("finished")
        return lost, self.claim(want)

    def fail(self, job_id: str, token: str, delay: int | None) -> bool:
        standing = self.standing(job_id, token)
        if standing == "own":
            job = self.jobs[job_id]
            job.release("failed")
            job.failed += 1
            if delay is None:
                self._end(job_id, "failed")
                self._trim("failed")
            else:
                job.results += 1
                self._wait(job_id, delay)
        return standing != "lost"

    def snooze(self, job_id: str, token: str, delay: int) -> bool:
        standing = self.standing(job_id, token)
        if standing == "own":
            self.jobs[job_id].release("scheduled")
            self.jobs[job_id].due = self.now + delay
        return standing != "lost"

    def put_back(self, batch: list[tuple[str, str]]) -> list[str]:
        lost = []
        for job_id, token in reversed(batch):
            standing = self.standing(job_id, token)
            if standing == "lost":
                lost.append(token)
            elif standing == "own":
                self.jobs[job_id].release("queued")
                self.waiting.insert(0, job_id)
        return lost

    def renew(self, batch: list[tuple[str, str]]) -> set[str]:
        for job_id, token in batch:
            if self.standing(job_id, token) == "own":
                self.jobs[job_id].lease_end = self.now + LEASE
                self.jobs[job_id].renewed = True
        return {token for job_id, token in batch if self.standing(job_id, token) == "lost"}

    def cancel(self, job_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.state in self.ranks:
            return "ended"
        if job.state == "queued":
            self.waiting.remove(job_id)
        job.release("canceled", done=False)
        self._end(job_id, "canceled")
        self._trim("canceled")
        return "canceled"

    def retry(self, job_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.state in {"queued", "started", "finished"}:
            return "waiting" if job.state == "queued" else job.state
        if job.state in self.ranks:
            self.ranks[job.state] = [entry for entry in self.ranks[job.state] if entry[1] != job_id]
            job.failed = job.rescues = 0
        self._wait(job_id, 0)
        return "queued"

    def rescue(self) -> tuple[int, int]:
        late = [
            (job.lease_end, f"{job_id}:{job.token}", job_id)
            for job_id, job in self.jobs.items()
            if job.state == "started" and job.lease_end <= self.now
        ]
        poisoned = 0
        for _, _, job_id in sorted(late, reverse=True):
            job = self.jobs[job_id]
            job.rescues += 1
            if job.rescues > BUDGET:
                job.release("failed", done=False)
                self._end(job_id, "failed")
                poisoned += 1
            else:
                job.release("queued", done=False)
                self.waiting.insert(0, job_id)
        self._trim("failed")
        return len(late) - poisoned, poisoned
