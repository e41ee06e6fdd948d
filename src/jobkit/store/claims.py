"""What a worker does with the jobs it owns: one call a transition, each fenced by the claim's token.

Every call here may be repeated when its reply was lost: the scripts remember the last token that ended an attempt
(`jk_done`) and answer the repetition as they did the call.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from jobkit.store.channel import ClaimChannel
from jobkit.store.codec import pack_error, storable
from jobkit.store.connection import Operation, Store
from jobkit.store.operations import blocks, enqueue
from jobkit.store.scripting import script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobkit.store.records import Claimed, NewJob, QueueRules

_BATCH: Final = 200
_ONE_LINE: Final = 300


@attrs.frozen
class Claims:
    """A worker's transitions. Safe for threads; `rules` must name every queue that the worker serves.

    `release` stands for what the worker's code can read: a job that it parks is offered to workers of other releases.
    Where it is empty, nothing is offered to it, and what it parks comes again only when it falls due.

    Calls answer True when they were recorded and False when the claim was lost to somebody else; they raise
    StoreUnavailable where Redis does not answer.
    """

    store: Store
    worker: str
    rules: Mapping[str, QueueRules]
    lease: float = 30.0
    release: str = ""

    def channel(self, name: str) -> ClaimChannel:
        """A numbered caller with a connection of its own, for one thread: claims and finishes in batches."""
        return ClaimChannel(self.store, self.worker, name, self.rules, lease=self.lease, release=self.release)

    def fail(
        self,
        claim: Claimed,
        *,
        error: str,
        delay: float | None,
        started: float,
        ended: float,
        counts: bool = True,
        asked: bool = False,
    ) -> bool:
        """End an attempt that raised; it waits for its next, or joins the dead letters.

        `error` is its traceback; `delay` is the wait in seconds before the next attempt, None for the dead letters;
        `counts=False` uses no attempt; `asked`: a vanilla function asked for it by returning an `rq.Retry`.
        """
        lines = storable(error).strip().splitlines()
        return self._one(
            "fail",
            claim,
            -1 if delay is None else _ms(delay),
            pack_error(error),
            lines[-1][:_ONE_LINE] if lines else "",
            started,
            ended,
            self.rules[claim.queue].keep_dead,
            int(counts),
            "" if claim.terms is None else claim.terms.of_failure(asked=asked, again=delay is not None),
        )

    def snooze(self, claim: Claimed, *, delay: float, reason: str, parked: bool = False) -> bool:
        """Put the job off for `delay` seconds; no attempt is used.

        `parked`: because no processor could take it. Workers of other releases are offered it meanwhile.
        """
        return self._one("snooze", claim, _ms(delay), storable(reason), int(parked), self.release)

    def end(
        self, claim: Claimed, *, state: Literal["canceled", "stopped"], reason: str, started: float, ended: float
    ) -> bool:
        """Close the job for good, as its processor (canceled) or an operator (stopped) said."""
        keep = self.rules[claim.queue].keep_dead
        text = pack_error(f"{state}: {reason}")
        terms = "" if claim.terms is None else claim.terms.of_stop()
        return self._one("end", claim, state, storable(reason), text, started, ended, keep, terms)

    def _one(self, name: str, claim: Claimed, *rest: Any) -> bool:
        keys = self.store.keys
        names, _ = blocks(keys, [claim.queue])
        args = [keys.prefix, claim.id, claim.token, self.worker, *rest]
        return self.store.run(Operation(script(name), names, args, _kept))

    def save_step(self, claim: Claimed, name: str, value: bytes) -> bool:
        """Keep what a step gave, for later attempts of the job; `value` is JSON."""
        return self._fenced("save_step", claim, name, value)

    def progress(self, claim: Claimed, percent: float, message: str) -> bool:
        """Keep how far the job says it has come."""
        return self._fenced("progress", claim, json.dumps([percent, message]))

    def try_out(self, claim: Claimed) -> bool:
        """Say that a suspect (`rescues` above 0) is about to run, so that its worker's death counts against it."""
        return self._fenced("try_out", claim)

    def _fenced(self, name: str, claim: Claimed, *rest: Any) -> bool:
        keys = self.store.keys
        names, _ = blocks(keys, [claim.queue])
        return self.store.run(Operation(script(name), names, [keys.prefix, claim.id, claim.token, *rest], _kept))

    def load_steps(self, claim: Claimed) -> dict[str, bytes]:
        """The steps that earlier attempts kept."""
        words = ("HGETALL", self.store.keys.steps(claim.id))
        return self.store.run(
            Operation(None, (), words, lambda reply: {name.decode(): value for name, value in reply.items()})
        )

    def enqueue(self, claim: Claimed, jobs: Sequence[NewJob]) -> list[bool | str]:
        """Enqueue as the owner of a claim, with the answers of `enqueue`; raises LostClaim where it was lost."""
        return self.store.run(enqueue(self.store.keys, jobs, fence=(claim.queue, claim.id, claim.token)))

    def put_back(self, claims: Sequence[Claimed]) -> list[str]:
        """Return jobs to the front of their queues, uncounted; answers the tokens that were lost."""
        return self._triples("put_back", claims, ())

    def renew(self, claims: Sequence[Claimed]) -> set[str]:
        """Extend the leases of these claims; answers the tokens that are lost."""
        return set(self._triples("renew", claims, (round(self.lease * 1000),)))

    def _triples(self, name: str, claims: Sequence[Claimed], middle: tuple[Any, ...]) -> list[str]:
        keys, lost = self.store.keys, []
        for start in reversed(range(0, len(claims), _BATCH)):  # what is put back last is at the front
            part = claims[start : start + _BATCH]
            names, place = blocks(keys, [claim.queue for claim in part])
            args: list[Any] = [keys.prefix, self.worker, *middle, len(part)]
            for claim in part:
                args += (place[claim.queue], claim.id, claim.token)
            lost += self.store.run(
                Operation(script(name), names, args, lambda reply: [token.decode() for token in reply])
            )
        return lost


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _kept(reply: Any) -> bool:
    return reply in {b"own", b"done"}
