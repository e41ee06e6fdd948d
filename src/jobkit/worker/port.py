"""A running job's way to the store: every call is fenced by the claim, and no interruption cuts one in half."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobkit.errors import LostClaim
from jobkit.store.operations import standing_ids
from jobkit.worker.fence import ThreadFence

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from jobkit.results import Draft
    from jobkit.store.claims import Claims
    from jobkit.store.records import NewJob
    from jobkit.worker.attempt import Attempt


class StorePort:
    """The ClaimPort of an attempt. Calls raise LostClaim once the claim is somebody else's."""

    __slots__ = ("_attempt", "_claims", "_new_job", "_steps")

    def __init__(self, attempt: Attempt, claims: Claims, new_job: Callable[[Draft[Any]], NewJob]) -> None:
        self._attempt = attempt
        self._claims = claims
        self._new_job = new_job
        self._steps: dict[str, bytes] | None = None

    def load_step(self, name: str) -> bytes | None:
        """The kept value of a step; all are read at the first question."""
        with self._undisturbed():
            if self._steps is None:
                self._steps = self._claims.load_steps(self._attempt.claimed)
            return self._steps.get(name)

    def save_step(self, name: str, value: bytes) -> None:
        """Keep the value of a step for later attempts."""
        with self._undisturbed():
            self._kept(self._claims.save_step(self._attempt.claimed, name, value), f"step {name!r}")

    def progress(self, percent: float, message: str) -> None:
        """Record how far the job is."""
        with self._undisturbed():
            self._kept(self._claims.progress(self._attempt.claimed, percent, message), "progress")

    def enqueue(self, drafts: Sequence[Draft[Any]]) -> list[str]:
        """Enqueue as the owner of the claim; the ids, or those of the jobs that these would repeat."""
        jobs = [self._new_job(each) for each in drafts]
        with self._undisturbed():
            return standing_ids(jobs, self._claims.enqueue(self._attempt.claimed, jobs))

    def _kept(self, kept: bool, what: str) -> None:  # noqa: FBT001 - the store's answer
        if not kept:
            raise LostClaim(f"job {self._attempt.claimed.id} is another worker's by now: its {what} is not taken")

    @contextmanager
    def _undisturbed(self) -> Generator[None]:
        if not self._attempt.undecided:
            raise LostClaim(f"job {self._attempt.claimed.id}: this attempt was given up; nothing it does is taken")
        fence = self._attempt.fence
        if isinstance(fence, ThreadFence) and fence.mask():
            try:
                yield
            finally:
                fence.unmask()
        else:
            yield
