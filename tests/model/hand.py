"""One worker of the model's test: its calls, their answers, and all the claims it ever had."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from redis.exceptions import ConnectionError as RedisConnectionError

from jobkit.store.channel import ClaimChannel
from jobkit.store.claims import Claims
from jobkit.store.records import Batch, Claimed


@attrs.define
class Hand:
    """A worker, and all the claims it ever had."""

    claims: Claims
    channel: ClaimChannel
    had: list[Claimed] = attrs.field(factory=list)
    sent: Any = None
    """Its latest numbered call, as it went out."""
    kept: tuple[Any, Batch] | None = None
    """The latest that changed something, and its answer."""

    @contextmanager
    def calling(self, *, dropped: bool) -> Iterator[ClaimChannel]:
        """The channel, for one call. `dropped`: what the server answers is lost once, and the channel asks again."""
        channel, answers = self.channel, iter([dropped])
        exchange = channel._exchange

        def send(*call: Any) -> Any:
            self.sent = channel._unanswered
            answer = exchange(*call)
            if next(answers, False):
                raise RedisConnectionError("the answer was lost")
            return answer

        channel._exchange = send  # type: ignore[assignment,method-assign]
        try:
            yield channel
        finally:
            del channel._exchange

    def repeated(self) -> Batch | None:
        """The answer to the kept call when it is sent once more."""
        assert self.kept
        self.channel._unanswered = self.kept[0]
        self.channel._repeat_unanswered()
        batch, self.channel._owed = self.channel._owed, None
        return batch
