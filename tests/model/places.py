"""The model's state, and the moves between a job's places. Times are in ms."""

import attrs

from tests.model.job import OFFER_LIVES, QUEUES, RANK_OF, RANKS, RELEASES, RULES, ModelJob


@attrs.define
class Places:
    """Where the jobs are, and the moves that several transitions share."""

    now: int
    jobs: dict[str, ModelJob] = attrs.field(factory=dict)
    waiting: dict[str, list[str]] = attrs.field(factory=lambda: {queue: [] for queue in QUEUES})
    ranks: dict[tuple[str, str], list[tuple[int, str]]] = attrs.field(
        factory=lambda: {(rank, queue): [] for rank in RANKS for queue in QUEUES}
    )
    bells: set[str] = attrs.field(factory=set)
    promoted: set[str] = attrs.field(factory=set)
    """Queues whose promotion took RQ's scheduler lock."""
    kept_replies: set[str] = attrs.field(factory=set)
    """Workers whose last reply is kept for its repetition."""
    tallies: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """Finished and failed attempts of the registered workers."""
    keys: dict[tuple[str, str], tuple[int, str]] = attrs.field(factory=dict)
    """Dedupe keys by queue: when a job was bound, and which."""
    swept: int = 0
    grace: int = 0

    def _release(self, job: ModelJob) -> None:
        job.token, job.renewed = None, False

    def _park(self, job: ModelJob, worker: str, delay: int) -> None:
        job.parked = job.parked or self.now
        if RELEASES[worker] not in job.parked_by:
            job.parked_by.append(RELEASES[worker])
        job.is_offered = delay >= OFFER_LIVES

    def _unpark(self, job: ModelJob) -> None:
        job.parked, job.parked_by = 0, []

    def _queue(self, job_id: str, *, delay: int = 0) -> None:
        """To the end of the queue, or to the scheduled jobs."""
        job = self.jobs[job_id]
        self._release(job)
        self.bells.add(job.queue)
        if delay:
            job.state, job.due = "scheduled", self.now + delay
        else:
            job.state, job.enqueued = "queued", self.now
            self.waiting[job.queue].append(job_id)

    def _to_front(self, job_id: str) -> None:
        job = self.jobs[job_id]
        job.state = "queued"
        self.waiting[job.queue].insert(0, job_id)
        self.bells.add(job.queue)

    def _end(self, job_id: str, state: str, kind: int, *, trim: bool = True, told: bool = True) -> None:
        job, rank = self.jobs[job_id], RANK_OF[state]
        if told:
            job.results.append((kind, job.token or ""))
        self._release(job)
        job.state, job.ended = state, self.now
        self.ranks[rank, job.queue].append((self.now, job_id))
        self.ranks[rank, job.queue].sort()
        if trim:
            self._trim_count(rank, job.queue, RULES[job.queue].keep_dead)

    def _trim_count(self, rank: str, queue: str, keep: int) -> int:
        return self._forget(rank, queue, max(0, len(self.ranks[rank, queue]) - keep))

    def _forget(self, rank: str, queue: str, many: int) -> int:
        ranked = self.ranks[rank, queue]
        for _, job_id in ranked[:many]:
            del self.jobs[job_id]
        del ranked[:many]
        return many

    def _count(self, worker: str, tally: str) -> None:
        """A worker that is not registered is not counted."""
        if (worker, tally) in self.tallies:
            self.tallies[worker, tally] += 1
