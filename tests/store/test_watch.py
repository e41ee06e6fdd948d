import asyncio

import pytest

from jobkit.errors import StoreUnavailable
from jobkit.store import Store
from jobkit.store.operations import origin


@pytest.mark.parametrize("steps", range(12))
def test_a_cancelled_call_is_cancelled(store_url: str, steps: int) -> None:
    """A task that is cancelled while it calls Redis ends as cancelled, at whichever step that comes."""

    async def main() -> None:
        store = Store.open(store_url)
        await store.arun(origin(store.keys, "none"))
        task = asyncio.create_task(store.arun(origin(store.keys, "none")))
        for _ in range(steps):
            await asyncio.sleep(0)  # reason: one turn of the loop, no time
        over = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or over
        await store.arun(origin(store.keys, "none"))
        await store.aclose()
        store.close()

    asyncio.run(main())


def test_waiters_of_one_stream_are_woken_together(store_url: str) -> None:
    """An entry wakes all who wait for the stream, and nobody else."""

    async def main() -> None:
        store = Store.open(store_url)
        same = [asyncio.create_task(store.await_entry("stream", "0-0", 20)) for _ in range(20)]
        other = asyncio.create_task(store.await_entry("other", "0-0", 20))
        await asyncio.to_thread(store.client.xadd, "stream", {"a": "b"})
        await asyncio.gather(*same)
        assert not other.done()
        await store.aclose()
        await asyncio.wait([other])
        assert other.cancelled()
        store.close()

    asyncio.run(main())


def test_a_wait_ends_in_time(store_url: str) -> None:
    """A wait for an entry that does not come ends after its time, without an error."""

    async def main() -> None:
        store = Store.open(store_url)
        await store.await_entry("stream", "0-0", 0.01)
        await store.aclose()
        store.close()

    asyncio.run(main())


def test_an_older_place_is_answered_too(store_url: str) -> None:
    """Waiters that have seen different entries of a stream share a read, and each learns of what is new to it."""

    async def main() -> None:
        store = Store.open(store_url)
        seen = store.client.xadd("stream", {"a": "1"}).decode()
        newer = asyncio.create_task(store.await_entry("stream", seen, 20))
        await store.await_entry("stream", "0-0", 20)
        await asyncio.to_thread(store.client.xadd, "stream", {"a": "2"})
        await newer
        await store.aclose()
        store.close()

    asyncio.run(main())


def test_server_away_is_told_to_every_waiter() -> None:
    """Waiting on a server that does not answer raises StoreUnavailable for all who wait."""

    async def main() -> None:
        store = Store.open("unix:///nonexistent/socket")
        waits = await asyncio.gather(
            *(store.await_entry("stream", "0-0", 20) for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in waits] == [StoreUnavailable] * 3
        await store.aclose()
        store.close()

    asyncio.run(main())


def test_a_cut_connection_is_replaced(store_url: str) -> None:
    """A reading connection that the server closes is replaced, and the waiters do not notice."""

    async def main() -> None:
        store = Store.open(store_url)
        wait = asyncio.create_task(store.await_entry("stream", "0-0", 20))
        while not (reading := [each for each in store.client.client_list() if each["cmd"] == "xread"]):
            await asyncio.to_thread(store.client.ping)  # until the read has begun
        assert await asyncio.to_thread(store.client.client_kill_filter, _id=reading[0]["id"]) == 1
        await asyncio.to_thread(store.client.xadd, "stream", {"a": "b"})
        await wait
        await store.aclose()
        store.close()

    asyncio.run(main())
