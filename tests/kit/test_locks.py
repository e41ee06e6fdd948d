"""`kit.lock`: a job's mutex, held by other code."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from jobkit import DeclarationError, Job, JobKit, LockLost, LockTimeout, Payload, QueueSpec, Settings, processor
from tests.kit.app import NEVER_LONG


class Sync(Payload, name="sync", queue="sync", mutex="sync:{tenant}"):
    tenant: str = "t_1"


class Other(Payload, name="other", queue="sync"):
    pass


LOST = "a lock is lost: its lease was not renewed in time"


@contextmanager
def signalled(logger: str, message: str) -> Iterator[threading.Event]:
    """An event that is set when the line is logged."""
    seen = threading.Event()

    class Ears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == message:
                seen.set()

    ears = Ears()
    logging.getLogger(logger).addHandler(ears)
    try:
        yield seen
    finally:
        logging.getLogger(logger).removeHandler(ears)


def test_a_lock_excludes_locks(kit: JobKit) -> None:
    """Of one name there is one lock at a time; `wait=0` tries once, and numbers grow."""
    with kit.lock("sync", wait=0) as held:
        assert not held.lost
        held.check()
        with pytest.raises(LockTimeout, match="'sync'"), kit.lock("sync", wait=0):
            pass
        with kit.lock("other", wait=0) as other:
            assert other.fence > held.fence
    with kit.lock("sync", wait=0) as again:
        assert again.fence > other.fence


def test_a_lock_is_waited_for(kit: JobKit) -> None:
    """Who waits gets the lock when it is given back; who waits too short a time is told."""
    entered = threading.Event()

    def wait() -> None:
        with kit.lock("sync", wait=NEVER_LONG):
            entered.set()

    waiter = threading.Thread(target=wait)
    with kit.lock("sync"):
        waiter.start()
        with pytest.raises(LockTimeout), kit.lock("sync", wait=0.05):
            pass
        assert not entered.is_set()
    assert entered.wait(NEVER_LONG)
    waiter.join(NEVER_LONG)


def test_a_lock_is_given_back_after_an_error(kit: JobKit) -> None:
    """What the block raises comes out, and the lock is free."""
    with pytest.raises(ZeroDivisionError), kit.lock("sync"):
        raise ZeroDivisionError
    with kit.lock("sync", wait=0):
        pass


def test_a_lock_keeps_jobs_out(store_url: str) -> None:
    """A job with the mutex begins when the lock is given back, and not before."""
    ran = threading.Event()

    @processor(Sync)
    def sync(job: Job[Sync]) -> None:
        ran.set()

    @processor(Other)
    def other(job: Job[Other]) -> None:
        return None

    made = JobKit(Settings(redis_url=store_url), queues=[QueueSpec("sync")], processors=[sync, other])
    with made.running() as kit:
        with kit.lock("sync:t_1"):
            handle = kit.enqueue(Sync())
            kit.enqueue(Other()).result(NEVER_LONG)
            assert not ran.is_set()
        handle.result(NEVER_LONG)
    assert ran.is_set()


def test_a_lock_on_an_event_loop(kit: JobKit) -> None:
    """`alock` does the same without blocking the loop; a cancelled wait leaves the lock to others."""

    async def main() -> None:
        async with kit.alock("sync") as held:
            assert not held.lost
            with pytest.raises(LockTimeout):
                async with kit.alock("sync", wait=0):
                    pass
            waiting = asyncio.create_task(enter())
            await asyncio.sleep(0)  # so that it has begun to wait
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with kit.alock("sync", wait=0) as again:
            assert again.fence > held.fence
        await kit.aclose()

    async def enter() -> None:
        async with kit.alock("sync"):
            pass

    asyncio.run(main())


def test_a_lock_is_renewed(kit: JobKit, store_url: str) -> None:
    """A third of the lease later the server has a later end of it."""
    with redis.Redis.from_url(store_url) as client, kit.lock("sync", lease=1) as held:
        ((owner, first),) = client.zrange("rq:jk:lease:", 0, -1, withscores=True)
        while client.zscore("rq:jk:lease:", owner) == first:
            assert not held.lost


def test_a_lost_lock_says_so(kit: JobKit, store_url: str) -> None:
    """Where the server has given the lock to somebody else, `lost` is true and `check` raises; the other keeps it."""
    with redis.Redis.from_url(store_url) as client, signalled("jobkit.locks", LOST) as lost:
        with kit.lock("sync", lease=1) as held:
            seconds, _ = client.time()
            client.set("rq:jk:clock", (seconds + 100) * 1000)
            with kit.lock("sync", wait=0) as other:
                assert lost.wait(NEVER_LONG)
                assert held.lost
                with pytest.raises(LockLost, match="'sync'"):
                    held.check()
                assert not other.lost
                assert client.zcard("rq:jk:run:mutex=sync") == 1
        with kit.lock("sync", wait=0):
            pass


@pytest.mark.parametrize(
    ("args", "options", "said"),
    [
        (("",), {}, "name of a mutex"),
        ((None,), {}, "name of a mutex"),
        (("sync",), {"wait": -1}, r"kit\.lock\(wait=\)"),
        (("sync",), {"wait": "10"}, r"kit\.lock\(wait=\)"),
        (("sync",), {"lease": 0.1}, r"kit\.lock\(lease=\)"),
    ],
)
def test_wrong_arguments_are_told(kit: JobKit, args: Any, options: Any, said: str) -> None:
    """A name that is none, a wait and a lease that are no durations are refused."""
    with pytest.raises(DeclarationError, match=said), kit.lock(*args, **options):
        pass
