"""A numbered caller: the batched calls of a worker, which may not be repeated blindly.

A claim whose reply is lost has started jobs that nobody works on. So each call carries the caller's name and one of
its own; the script keeps its last reply under the caller's, and the same call gets the same reply again. The channel
repeats a call whose connection broke once over a new connection; where that fails too it raises, and the next call
begins by repeating the unanswered one, so that no claim is forgotten while its lease lives.
"""

from __future__ import annotations

import base64
import itertools
import math
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from jobkit.errors import StoreFull, StoreUnavailable
from jobkit.store.connection import UNDECODABLE, Store
from jobkit.store.operations import blocks, bookkeep, record
from jobkit.store.records import Batch, Claimed, Finished, QueueRules
from jobkit.store.scripting import Script, script
from jobkit.store.terms import read_terms
from jobkit.store.trouble import explain, refusal
from jobkit.store.wire import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BROKEN: Final = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)
T = TypeVar("T")

_BLOCK_AT_LEAST: Final = 0.01
_INTERRUPT_LIVES: Final = 60
_LOOK_EVERY: Final = 2.0
"""Seconds between two looks at what other releases have parked."""
_SHORT: Final = 6
"""The length of a job's first claim in a reply (scripts/claim.lua)."""


class _Call(NamedTuple):
    """A call as it is sent, and sent again. `queues` are those it touches, in the order of their keys."""

    script: Script
    names: Sequence[str]
    args: Sequence[Any]
    queues: Sequence[str]

    def packed(self, *, whole: bool = False) -> bytes:
        """The bytes to send; `whole` sends the script's text instead of its SHA."""
        opening = ("EVAL", self.script.text) if whole else ("EVALSHA", self.script.sha)
        return pack((*opening, len(self.names), *self.names, *self.args))


class ClaimChannel:
    """One connection and one sequence of calls. Belongs to one thread; only `interrupt` may be called by others."""

    def __init__(
        self, store: Store, worker: str, name: str, rules: Mapping[str, QueueRules], *, lease: float, release: str = ""
    ) -> None:
        self._store = store
        self._worker = worker
        self._caller = f"{worker}:{name}"
        self._rules = rules
        self._lease_ms = round(lease * 1000)
        self._release = release
        self._next_look = 0.0 if release else math.inf
        self._more_parked = self._idle = self._looked = False
        self._reply = store.keys.reply(self._caller)
        self._bell = store.keys.bell(f"worker:{self._caller}")
        self._sequence = itertools.count(1)
        self._nonce = os.urandom(4).hex()  # makes calls and tokens unlike those of any other caller
        self._connection: Any = None
        self._unanswered: _Call | None = None
        self._owed: Batch | None = None
        self._meanwhile: Callable[[], None] | None = None

    def claim(self, wants: Mapping[str, int], *, block: float) -> Batch:
        """Claim up to `wants` jobs of each queue; with `block` seconds, wait for a bell first.

        The wait and the claim go out in one write, so that a bell costs no second round trip. Keep `block` under the
        socket timeout. Every two seconds, where it was given nothing, and as long as there are any, it claims jobs
        that other releases have parked before it claims others. Raises StoreUnavailable, StoreFull or UnsuitableServer.
        """
        self._repeat_unanswered()
        if self._owed is not None:
            return self._with_owed(Batch([], [], None))
        first, now = None, time.monotonic()
        late = now >= self._next_look
        look = self._more_parked or self._idle or late
        if self._more_parked or (late and not self._looked):  # what waits first would look too late
            block = 0.0
        elif not look:
            block = min(block, self._next_look - now)
        if block > 0:
            wanted = (self._store.keys.bell(queue) for queue in self._rules if wants.get(queue))
            first = ("BLPOP", self._bell, *wanted, max(block, _BLOCK_AT_LEAST))
        call = self._claim_call(wants, *([self._release] if look else ()))
        self._more_parked = self._idle = False
        self._looked = look
        batch = self._call(call, first)
        self._idle = self._release != "" and not batch.claimed
        if look:
            self._next_look = time.monotonic() + _LOOK_EVERY
            self._more_parked = any(claimed.parked_ms for claimed in batch.claimed)
        return batch

    def advance(
        self,
        finished: Sequence[Finished],
        wants: Mapping[str, int],
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> Batch:
        """Finish a batch and claim up to `wants` jobs, in one call. Raises as `claim` does.

        `meanwhile` is called once the call is on its way, so that the caller works while the server does; not where
        it could not be sent. After an error the batch may be given again: a finish that was recorded answers as it did.
        """
        self._repeat_unanswered()
        call = self._advance_call(finished, {} if self._owed is not None else wants)
        faults: list[BaseException] = []
        self._meanwhile = None if meanwhile is None else _guarded(meanwhile, faults)
        try:
            batch = self._with_owed(self._call(call, None))
        finally:
            self._meanwhile = None
        if faults:
            self._owed = batch
            raise faults[0]
        return batch

    def connect(self) -> socket.socket | None:
        """A connection for a loop that makes the calls itself; None where a loop cannot take it over (TLS).

        The server knows the calls' script then. The connection is the caller's to close: the channel knows nothing of
        it. Raises StoreUnavailable or UnsuitableServer.
        """
        connection = self._store.make_connection()
        try:
            connection.connect()
            theirs = getattr(connection, "_sock", None)  # redis-py has no other way to it
            if type(theirs) is not socket.socket:
                return None
            connection.send_command("SCRIPT", "LOAD", script("advance").text)
            connection.read_response()
            ours = socket.socket(fileno=theirs.detach())  # redis-py would close its own when it sees fit
        except (RedisError, OSError) as error:
            raise explain(error, "connecting") from error
        finally:
            connection.disconnect()
        ours.settimeout(0)
        return ours

    def begin(self, finished: Sequence[Finished], wants: Mapping[str, int]) -> bytes:
        """The bytes of an `advance` for who sends them; its answer goes to `complete`, or, unheard, to `settle`."""
        if self._unanswered is not None or self._owed is not None:
            raise RuntimeError("channel: expected one call at a time; settle() the one that was not answered")
        call = self._advance_call(finished, wants)
        packed = call.packed()
        self._unanswered = call
        return packed

    def complete(self, reply: Any) -> Batch:
        """What the answer to `begin` says."""
        call = self._unanswered
        if call is None:
            raise RuntimeError("channel: expected an answer to a call, and none was made")
        batch = self._batch(call, reply)
        self._unanswered = None
        return batch

    def settle(self) -> Batch:
        """The answer to a call that was not answered, by making it again. Raises as `claim` does.

        After StoreUnavailable and StoreFull it may be called again. RuntimeError when no call was made.
        """
        if self._unanswered is None and self._owed is None:
            raise RuntimeError("channel: expected a call that was not answered, and none was made")
        self._repeat_unanswered()
        return self._with_owed(Batch([], [], None))

    def _claim_call(self, wants: Mapping[str, int], *more: Any) -> _Call:
        queues = [queue for queue, want in wants.items() if want > 0]
        names, place = blocks(self._store.keys, queues)
        return _Call(script("claim"), [*names, self._reply], [*self._opening(wants, place), *more], queues)

    def _advance_call(self, finished: Sequence[Finished], wants: Mapping[str, int]) -> _Call:
        # Only the queues that it touches: a worker may serve a thousand.
        queues = dict.fromkeys(queue for queue, want in wants.items() if want > 0)
        for done in finished:
            queues[done.queue] = None
            for follow in done.follow_ups:
                queues[follow.queue] = None
        names, place = blocks(self._store.keys, queues)
        args = self._opening(wants, place)
        args.append(len(finished))
        encode = base64.b64encode
        for done in finished:
            keep = self._rules[done.queue].keep_done
            value = encode(done.value) if done.value and done.value != b"null" else b""
            follow_ups = done.follow_ups
            args += (place[done.queue], done.id, done.token, value, b"%.3f" % done.started, b"%.3f" % done.ended, keep)
            args += ("" if done.terms is None else done.terms.of_finish(), len(follow_ups))
            for follow in follow_ups:
                args += record(follow, place[follow.queue])
        return _Call(script("advance"), [*names, self._reply], args, list(queues))

    def interrupt(self) -> None:
        """Wake a `claim` that waits, from any thread. It claims as it would have: give back what is not wanted."""
        bell = self._bell
        self._store.run(bookkeep(self._store.keys, [("RPUSH", bell, "1"), ("EXPIRE", bell, _INTERRUPT_LIVES)]))

    def close(self) -> None:
        """Close the connection. A call that was never answered is left to its leases."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def _opening(self, wants: Mapping[str, int], place: Mapping[str, int]) -> list[Any]:
        call = f"{self._nonce}-{next(self._sequence):x}"
        args: list[Any] = [self._store.keys.prefix, self._worker, call, self._lease_ms, 0]
        for queue, want in wants.items():
            if want > 0:
                args += (place[queue], want)
                args[4] += 1
        return args

    def _repeat_unanswered(self) -> None:
        """Get the answer that is still owed.

        It is kept until a call can give it: what it claimed must not be lost when the next call fails.
        """
        call = self._unanswered
        if call is not None:
            try:
                self._owed = self._with_owed(self._call(call, None))
            except (StoreUnavailable, StoreFull):
                self._unanswered = call  # also where it was refused now: it may have been done before
                raise

    def _with_owed(self, batch: Batch) -> Batch:
        owed, self._owed = self._owed, None
        if owed is None:
            return batch
        return Batch([*owed.claimed, *batch.claimed], [*owed.lost, *batch.lost], batch.wait)

    def _call(self, call: _Call, first: tuple[Any, ...] | None) -> Batch:
        packed = call.packed()  # what cannot be sent is no call, and not repeated
        self._unanswered = call
        try:
            try:
                reply = self._exchange(call, packed, first)
            except _BROKEN:
                self.close()
                reply = self._exchange(call, packed, None)
        except _BROKEN as error:
            self.close()
            raise explain(error, call.script.name) from error
        except ResponseError as error:
            self._unanswered = None  # refused, not lost: the same call again would be refused again
            if refusal(error) == "READONLY":
                self.close()  # no master any more: a new connection may find the one that is
            raise explain(error, call.script.name) from error
        self._unanswered = None
        return self._batch(call, reply)

    def _exchange(self, call: _Call, packed: bytes, first: tuple[Any, ...] | None) -> Any:
        if self._connection is None:
            self._connection = self._store.make_connection()
            self._connection.connect()
        connection = self._connection
        connection.send_packed_command([pack(first) + packed if first else packed])
        work, self._meanwhile = self._meanwhile, None
        if work is not None:
            work()
        try:
            if first:
                try:
                    connection.read_response()
                except ResponseError:
                    # The claim's own answer is still on its way. It counts: what it claimed is handed out next time.
                    self._owed = self._with_owed(self._batch(call, connection.read_response()))
                    raise
            return connection.read_response()
        except NoScriptError:
            connection.send_packed_command([call.packed(whole=True)])
            return connection.read_response()

    def _batch(self, call: _Call, reply: Any) -> Batch:
        claimed, lost, wait = reply
        return Batch(
            [self._claimed(call.queues, call.args[2], row) for row in claimed],
            [token.decode() for token in lost],
            None if wait < 0 else wait / 1000,
        )

    def _claimed(self, queues: Sequence[str], name: str, row: Sequence[Any]) -> Claimed:
        place: int
        if len(row) == _SHORT:
            place, n, job_id, data, extra, timeout = row
            return Claimed(
                queues[place - 1],
                job_id.decode(errors=UNDECODABLE),
                f"{name}-{n}",
                data,
                extra,
                _seconds(timeout),
                0,
                1,
                0,
                0,
            )
        place, n, job_id, data, extra, timeout, failed, epoch, rescues, parked, terms = row
        return Claimed(
            queues[place - 1],
            job_id.decode(errors=UNDECODABLE),
            f"{name}-{n}",
            data,
            extra,
            _seconds(timeout),
            _number(failed, int, 0),
            _number(epoch, int, 1),
            _number(rescues, int, 0),
            _number(parked.partition(b" ")[0], int, 0),
            read_terms(terms) if terms else None,
        )


def _guarded(work: Callable[[], None], faults: list[BaseException]) -> Callable[[], None]:
    """The work, with what it raises put aside: the answer that is on its way has to be read first."""

    def call() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again once the answer is there
            faults.append(error)

    return call


def _seconds(raw: bytes) -> float | None:
    """A hash's timeout; None where it is missing or no number. RQ's -1 means that there is no limit."""
    timeout = _number(raw, float, 0.0)
    return timeout if timeout and math.isfinite(timeout) else None


def _number(raw: bytes | int, kind: Callable[[bytes | int], T], default: T) -> T:
    """A hash's field as a number; the default where it is missing or no number: somebody else wrote it."""
    try:
        return kind(raw)
    except ValueError:
        return default
