"""RQ's retries, repeats and timeouts of vanilla jobs on a jobkit worker."""

import pytest
import rq
from rq import Repeat, Retry
from rq.results import Result

from jobkit import JobFailed
from tests.rq.conftest import Side
from tests.store.world import World, done_with


def vanilla(world: World) -> rq.Queue:
    """Give a plain client's queue."""
    return rq.Queue("a", connection=world.redis, serializer="json")


def test_waits_are_rqs(side: Side) -> None:
    """A job that raises waits as its intervals say, and its retries_left is what RQ's tools show."""
    job = side.enqueue("fail", retry=Retry(max=2, interval=[60, 3600]))
    side.start()
    line = side.bench.lines.wait_for("job failed", job_id=job.id)
    assert line.next == "again in 60.0 s"
    found = side.fetch(job.id)
    assert (found.get_status(), found.retries_left) == ("scheduled", 1)
    assert side.bench.client.handle(job.id).status().attempts == 3


def test_a_short_list_begins_with_its_first(world: World) -> None:
    """The waits of a list shorter than the retries are chosen as RQ does."""
    queue = vanilla(world)
    queue.enqueue("f", job_id="j", retry=Retry(max=4, interval=[10, 20]))
    waits = []
    for _ in range(4):
        claimed = world.claim_one()
        assert claimed.terms is not None
        waits.append(claimed.terms.retry_wait())
        world.fail(claimed, delay=0)
    last = world.claim_one()
    assert last.terms is not None
    assert (waits, last.terms.retries_left) == ([10, 10, 10, 20], 0)


def test_retries_used_up(side: Side) -> None:
    """After the last retry the job is a dead letter, with the result of every attempt."""
    job = side.enqueue("fail", retry=Retry(max=2))
    side.start()
    with pytest.raises(JobFailed):
        side.result(job.id)
    kinds = [result.type for result in side.fetch(job.id).results()]
    assert kinds == [Result.Type.FAILED, Result.Type.RETRIED, Result.Type.RETRIED]
    assert side.fetch(job.id).retries_left == 0
    assert side.bench.client.handle(job.id).status().attempts == 3


def test_a_new_life_has_all_retries(world: World) -> None:
    """A dead letter that is retried, by jobkit or by RQ, has its retries again."""
    queue = vanilla(world)
    job = queue.enqueue("f", job_id="j", retry=Retry(max=1))
    for revive in (lambda: world.retry("j"), lambda: queue.failed_job_registry.requeue("j")):
        world.fail(world.claim_one(), delay=0)
        world.fail(world.claim_one())
        assert world.state("j") == "failed"
        revive()
        claimed = world.claim_one()
        assert claimed.terms is not None
        assert claimed.terms.retries_left == 1
        world.claims.put_back([claimed])
    assert job.id == "j"


def test_retries_at_the_front(world: World) -> None:
    """A retry without a wait goes to the front where the client asked for that."""
    vanilla(world).enqueue("f", job_id="j", retry=Retry(max=1, enqueue_at_front=True))
    claimed = world.claim_one()
    world.enqueue("other")
    world.fail(claimed, delay=0)
    assert world.waiting() == ["j", "other"]


def test_a_returned_retry(side: Side) -> None:
    """A function that returns rq.Retry runs again after its interval, as often as that says, then fails."""
    job = side.enqueue("again", 2)
    side.start()
    with pytest.raises(JobFailed, match=r"after 2 retries, of 2"):
        side.result(job.id)
    kinds = [result.type for result in side.fetch(job.id).results()]
    assert kinds == [Result.Type.MAX_RETRIES_EXCEEDED, Result.Type.RETRIED, Result.Type.RETRIED]


def test_a_returned_retry_waits(side: Side) -> None:
    """The interval of a returned rq.Retry is the wait."""
    job = side.enqueue("again", 2, 60)
    side.start()
    assert side.bench.lines.wait_for("job failed", job_id=job.id).next == "again in 60.0 s"
    assert side.fetch(job.id).number_of_retries == 1


def test_repeat(side: Side) -> None:
    """A job is repeated as often as it asks for, each run leaves a result."""
    job = side.enqueue("current", repeat=Repeat(times=2))
    side.start()
    side.bench.lines.wait_for("job finished", times=3, job_id=job.id)
    found = side.fetch(job.id)
    assert (found.get_status(), found.repeats_left, found.meta) == ("finished", 0, {"runs": 3})
    assert len(found.results()) == 3


def test_repeat_waits(world: World) -> None:
    """A repeat with intervals is scheduled, in the same step as its finish, with the intervals that are left."""
    vanilla(world).enqueue("f", job_id="j", repeat=Repeat(times=3, interval=[10, 20]))
    waits = []
    for _ in range(3):
        claimed = world.claim_one()
        world.finish(claimed)
        assert world.state("j") == "scheduled"
        assert world.members("rq:finished:a") == world.members("rq:wip:a") == set()
        due = world.redis.zscore("rq:scheduled:a", "j")
        waits.append(round(due - world.now_ms() / 1000))
        world.pass_time(waits[-1] + 1)
    assert waits == [10, 20, 20]
    world.finish(world.claim_one())
    assert world.state("j") == "finished"


def test_a_repeat_is_repeated_once(world: World) -> None:
    """A finish that is told twice, because its reply was lost, repeats its job once."""
    vanilla(world).enqueue("f", job_id="j", repeat=Repeat(times=5))
    claimed = world.claim_one()
    world.finish(claimed)
    assert world.other_claims.channel("c").advance([done_with(claimed)], {}).lost == []
    assert world.waiting() == ["j"]
    assert world.hash("j")["repeats_left"] == "4"


@pytest.mark.parametrize(("given", "timeout"), [(33, 33.0), (-1, None), (None, 180.0)])
def test_timeouts(side: Side, given: int | None, timeout: float | None) -> None:
    """A timeout in seconds holds, -1 means none, and without one it is RQ's default."""
    job = side.enqueue("ran", "x", job_timeout=given)
    channel = side.bench.worker(rq_functions=())._claims.channel("test")
    worker = side.bench.workers[-1]
    worker._build()
    (claimed,) = channel.claim({"q": 1}, block=0).claimed
    channel.close()
    assert claimed.id == job.id
    assert worker._pipeline.read(claimed).timeout == timeout


def test_a_result_that_is_no_json(side: Side) -> None:
    """A result that JSON cannot hold fails the job for good, because its effects have happened."""
    job = side.enqueue("nothing_json", retry=Retry(max=3))
    side.start()
    with pytest.raises(JobFailed, match="cannot be written as JSON"):
        side.result(job.id)
    assert side.fetch(job.id).retries_left == 3
