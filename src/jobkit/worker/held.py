"""The claims that a worker holds: from the claim until the end is recorded, or the claim is lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobkit.worker.attempt import Attempt


class Held:
    """Attempts by the token of their claim; thread-safe."""

    def __init__(self) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._gate = threading.Lock()

    def add(self, attempts: Iterable[Attempt]) -> None:
        """These claims are held now."""
        with self._gate:
            for attempt in attempts:
                self._attempts[attempt.claimed.token] = attempt

    def forget(self, tokens: Iterable[str]) -> None:
        """These have ended."""
        with self._gate:
            for token in tokens:
                self._attempts.pop(token, None)

    def take(self, tokens: Iterable[str]) -> list[Attempt]:
        """Forget these; the attempts of those that were held."""
        with self._gate:
            found = [self._attempts.pop(token, None) for token in tokens]
        return [attempt for attempt in found if attempt is not None]

    def all(self) -> Sequence[Attempt]:
        """All that are held now, in the order of their claims."""
        with self._gate:
            return list(self._attempts.values())

    def of_job(self, job_id: str) -> Sequence[Attempt]:
        """The attempts of one job: one, unless its claim was lost and won again."""
        return [attempt for attempt in self.all() if attempt.claimed.id == job_id]

    def __contains__(self, token: object) -> bool:
        return token in self._attempts

    def __len__(self) -> int:
        return len(self._attempts)
