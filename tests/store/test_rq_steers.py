"""What RQ's tools do to our jobs, jobkit follows."""

import threading

import pytest
import rq
from click.testing import CliRunner
from rq.cli import main as rq_cli
from rq.command import send_stop_job_command
from rq.job import Job

from jobkit.store.presence import Presence
from tests.store.world import World


def fetch(world: World, job_id: str = "j") -> Job:
    """Fetch a job as RQ does."""
    return Job.fetch(job_id, connection=world.redis, serializer="json")


def run_rq(world: World, *words: str) -> str:
    """Run RQ's command line and give what it prints."""
    done = CliRunner().invoke(rq_cli, [words[0], "--url", world.url, *words[1:]])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("how", ["cli", "job", "all"])
def test_requeue_begins_a_new_life(world: World, how: str) -> None:
    """A dead letter requeued by RQ has all its attempts again, no time to live and no rank among the dead."""
    world.enqueue("j")
    world.fail(world.claim_one(), delay=0)
    world.fail(world.claim_one())
    if how == "job":
        fetch(world).requeue()
    elif how == "cli":
        run_rq(world, "requeue", "--queue", "a", "--serializer", "json", "j")
    else:
        run_rq(world, "requeue", "--queue", "a", "--serializer", "json", "--all")
    world.redis.expire("rq:job:j", 5)
    claimed = world.claim_one()
    assert (claimed.id, claimed.failed, claimed.rescues) == ("j", 0, 0)
    assert world.redis.ttl("rq:job:j") == -1
    assert not world.redis.exists("rq:failed:a", "rq:jk:dead:a")
    world.finish(claimed)
    assert world.kinds("j") == [4, 2, 1]
    assert "jk_dead" not in world.hash("j")


def test_requeue_of_a_stopped_job(world: World) -> None:
    """A job that an operator stopped is a failed one for RQ's requeue."""
    world.end(world.started(), "stopped")
    fetch(world).requeue()
    assert world.claim_one().id == "j"


def test_requeued_dead_letter_outlives_retention(world: World) -> None:
    """Retention does not delete a dead letter that RQ has requeued in the meantime."""
    world.fail(world.started())
    fetch(world).requeue()
    world.enqueue("other")
    _, other = world.claim()
    world.rules["a"] = type(world.rules["a"])(keep_done=0, keep_dead=0)
    world.fail(other)
    assert world.state("j") == "started"
    assert world.state("other") == "missing"


def test_cancel_of_a_queued_job(world: World) -> None:
    """A queued job that RQ cancels is not claimed."""
    world.enqueue("j")
    fetch(world).cancel()
    world.redis.rpush("rq:queue:a", "j")  # as if a hint were left over
    assert world.claim() == []
    assert world.state("j") == "canceled"


def test_cancel_of_a_scheduled_job(world: World) -> None:
    """A scheduled job that RQ cancels is never promoted."""
    world.enqueue(world.new("j", delay_ms=1000))
    fetch(world).cancel()
    world.pass_time(2)
    assert world.claim() == []


@pytest.mark.parametrize("renewed", [False, True])
def test_cancel_of_a_running_job(world: World, *, renewed: bool) -> None:
    """A running job that RQ cancels is lost for its worker, and gives up all that its claim held."""
    claimed = world.started()
    if renewed:
        world.claims.renew([claimed])
    fetch(world).cancel()
    assert world.claims.renew([claimed]) == {claimed.token}
    assert world.finish(claimed).lost == [claimed.token]
    assert world.state("j") == "canceled"
    assert world.all_keys() == {"rq:canceled:a", "rq:job:j", "rq:jk:clock", "rq:queues", "rq:jk:bell:a"} | replies(
        world
    )


def test_canceled_by_rq_has_retention(world: World) -> None:
    """What RQ's tools canceled is trimmed like what jobkit canceled."""
    world.enqueue("j", "k")
    fetch(world).cancel()
    world.cancel("k")
    rules = world.rules["a"]
    world.sweeps.trim("a", rules)
    assert world.members("rq:canceled:a") == world.members("rq:jk:gone:a") == {"j", "k"}
    world.sweeps.trim("a", type(rules)(keep_done=1, keep_dead=0))
    assert world.state("j") == world.state("k") == "missing"
    assert not world.redis.exists("rq:canceled:a", "rq:jk:gone:a")


def test_delete_of_a_queued_job(world: World) -> None:
    """A queued job that RQ deletes leaves nothing that is claimed."""
    world.enqueue("j", "k")
    fetch(world).delete(remove_from_queue=False)
    assert [claimed.id for claimed in world.claim()] == ["k"]


def test_delete_of_a_running_job(world: World) -> None:
    """A running job that RQ deletes is lost for its worker and leaves no lease, step or hash behind."""
    claimed = world.started()
    world.claims.renew([claimed])
    world.claims.save_step(claimed, "ocr", b"1")
    fetch(world).delete()
    assert world.finish(claimed).lost == [claimed.token]
    assert not world.claims.progress(claimed, 1, "")
    assert world.all_keys() == {"rq:jk:clock", "rq:queues", "rq:jk:bell:a"} | replies(world)


def test_stop_command(world: World) -> None:
    """RQ's stop command reaches the worker that runs the job."""
    presence = Presence(world.store, "w1", ["a"])
    presence.birth()
    claimed = world.started()
    commands = presence.commands(poll=5)
    heard: list[object] = []
    listener = threading.Thread(target=lambda: heard.append(next(filter(None, commands))))
    listener.start()
    while not world.redis.pubsub_numsub("rq:pubsub:w1")[0][1]:
        pass
    send_stop_job_command(world.redis, "j", serializer="json")
    listener.join(5)
    commands.close()
    assert heard == [{"command": "stop-job", "job_id": "j"}]
    assert world.end(claimed, "stopped")
    assert fetch(world).get_status() == "stopped"


def test_suspend_and_resume(world: World) -> None:
    """While RQ's workers are suspended nothing is claimed, a finish is taken, and the claim says when to ask again."""
    running = world.started("running")
    world.enqueue("j")
    run_rq(world, "suspend")
    assert Presence(world.store, "w1", ["a"]).is_suspended()
    batch = world.channel.claim({"a": 1}, block=0)
    assert (batch.claimed, batch.wait) == ([], 1.0)
    assert world.finish(running, want=5).claimed == []
    assert world.state("running") == "finished"
    run_rq(world, "resume")
    assert world.claim_one().id == "j"


def test_rq_runs_our_job(world: World) -> None:
    """A vanilla worker may finish a job that jobkit enqueued: jobkit sees it ended."""
    world.enqueue("j")
    job = fetch(world)
    assert (
        rq.Queue("a", connection=world.redis, serializer="json").dequeue_any(
            [rq.Queue("a", connection=world.redis, serializer="json")], None, connection=world.redis, serializer="json"
        )[0]
        == job
    )
    job.set_status("finished")
    assert world.cancel("j") == "ended"
    assert world.retry("j") == "finished"


def test_requeue_while_running(world: World) -> None:
    """A running job that somebody enqueues again with RQ stays its owner's, and is not lost when that owner dies."""
    claimed = world.started()
    queue = rq.Queue("a", connection=world.redis, serializer="json")
    queue.enqueue_job(fetch(world))
    assert world.claim() == []
    assert world.waiting() == []
    world.pass_time(31)
    assert world.rescue() == (1, 0, 0)
    again = world.claim_one()
    assert again.id == "j"
    assert world.finish(claimed).lost == [claimed.token]


def replies(world: World) -> set[str]:
    """The kept replies of numbered callers; they expire by themselves."""
    found = {key for key in sorted(world.all_keys()) if key.startswith("rq:jk:reply:")}
    assert all(world.redis.pttl(key) > 0 for key in found)
    return found
