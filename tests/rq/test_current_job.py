"""rq.get_current_job() and meta on a jobkit worker; calls as RQ makes them."""

from typing import Any

import pytest
import rq
from redis import Redis

from jobkit import Job, JobFailed, Payload, processor
from jobkit.store import Store
from tests.rq.conftest import FUNCTIONS, Side


class Ask(Payload[bool], name="ask", queue="q"):
    pass


@processor(Ask)
def ask(job: Job[Ask]) -> bool:
    """Say whether RQ knows of no job."""
    return rq.get_current_job() is None


def test_current_job_and_meta(side: Side) -> None:
    """A vanilla function sees its job, reads the client's meta, and what it saves there stays."""
    job = side.enqueue("current", meta={"from": "client"})
    side.start()
    expected = {"id": job.id, "origin": "q", "meta": {"from": "client", "runs": 1}}
    assert side.result(job.id) == expected
    assert side.fetch(job.id).meta == expected["meta"]


def test_meta_stays_across_attempts(side: Side) -> None:
    """Meta is kept from one attempt to the next."""
    job = side.enqueue("current", repeat=rq.Repeat(times=1))
    side.start()
    side.bench.lines.wait_for("job finished", times=2, job_id=job.id)
    assert side.fetch(job.id).meta == {"runs": 2}


def test_no_current_job_in_a_processor(side: Side) -> None:
    """A jobkit processor has its Job, and no current job of RQ's."""
    side.start(processor=ask)
    assert side.bench.enqueue(Ask()).result(10) is True


def test_what_was_claimed_is_called(side: Side) -> None:
    """A record that is changed between the claim and the call does not smuggle another function in."""
    job = side.enqueue("ran", "x")
    worker = side.bench.worker(rq_functions=(f"{FUNCTIONS}.ran",))
    worker._build()
    (claimed,) = worker._claims.channel("test").claim({"q": 1}, block=0).claimed
    side.redis.hset(f"rq:job:{job.id}", "data", b'["os.getcwd", null, [], {}]')
    fetched: Any = worker._pipeline.vanilla.jobs.fetch(claimed)
    assert fetched.perform() == "x"


def test_a_record_that_rq_cannot_read(side: Side) -> None:
    """A record with a field that RQ cannot read is a dead letter that says so, and blocks nobody."""
    job = side.enqueue("ran", "x")
    side.redis.hset(f"rq:job:{job.id}", "created_at", "yesterday")
    after = side.enqueue("ran", "y")
    side.start()
    with pytest.raises(JobFailed, match="RQ cannot read"):
        side.result(job.id)
    assert side.result(after.id) == "y"


def test_async_functions_are_refused(side: Side) -> None:
    """An async function is not run; the dead letter says what to do."""
    job = side.queue().enqueue("asyncio.sleep", 0)
    side.start("asyncio.*")
    with pytest.raises(JobFailed, match="async processor"):
        side.result(job.id)


def test_a_chain_of_both_kinds(side: Side) -> None:
    """Vanilla jobs that depend on a jobkit job, and on each other, run after it, each once."""
    parent = side.bench.enqueue(Ask(), job_id="parent")
    child = side.enqueue("ran", "child", depends_on="parent")
    grandchild = side.enqueue("ran", "grandchild", depends_on=child)
    assert side.fetch(grandchild.id).get_status() == "deferred"
    side.start(processor=ask)
    assert [each.split()[1] for each in side.told(2)] == ["child", "grandchild"]
    assert (parent.result(10), side.result(grandchild.id)) == (True, "grandchild")


def test_webhooks_are_not_sent(side: Side) -> None:
    """A webhook that a client names is not called: whoever can write to the server would choose the address."""
    job = side.enqueue("ran", "x", webhooks=[rq.Webhook("http://localhost:9/", "finished")])
    side.start()
    assert side.result(job.id) == "x"
    assert not [line for line in side.bench.lines.messages() if "webhook" in line.lower()]


@pytest.mark.parametrize("by_url", [True, False])
def test_connections_of_its_own(store_url: str, *, by_url: bool) -> None:
    """What vanilla jobs talk over is not what the worker talks over, however its store was made."""
    store = Store.open(store_url) if by_url else Store(Redis.from_url(store_url))
    other = store.another()
    assert other.client.ping()
    assert other.client.connection_pool is not store.client.connection_pool
    for each in (store, other):
        each.close()
