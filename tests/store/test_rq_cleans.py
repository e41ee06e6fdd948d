"""RQ's cleaners, which fail live jobs and forget ended ones, leave ours alone."""

from collections.abc import Callable

import pytest
import rq
from click.testing import CliRunner
from rq.cli import main as rq_cli
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry, clean_registries
from rq.scheduler import RQScheduler
from rq.worker_registration import clean_worker_registry

from tests.store.world import World


def info(world: World) -> None:
    """`rq info`, ten times over."""
    for _ in range(10):
        assert CliRunner().invoke(rq_cli, ["info", "--url", world.url]).exit_code == 0


def cleanups(world: World) -> None:
    """Each registry's own cleanup."""
    for registry in (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry):
        registry("a", connection=world.redis, serializer="json").cleanup()


def all_registries(world: World) -> None:
    """What a vanilla worker's maintenance calls."""
    queue = rq.Queue("a", connection=world.redis, serializer="json")
    clean_registries(queue)
    clean_worker_registry(queue)


def counts(world: World) -> None:
    """What dashboards ask."""
    for registry in (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry):
        assert registry("a", connection=world.redis, serializer="json").count == 1


@pytest.mark.parametrize("clean", [info, cleanups, all_registries, counts])
@pytest.mark.parametrize("renewed", [False, True])
def test_live_and_ended_jobs_stay(world: World, clean: Callable[[World], None], *, renewed: bool) -> None:
    """Whatever of RQ's cleans, a started job goes on, and finished and failed ones stay listed."""
    world.enqueue("running", "done", "dead")
    running, done, dead = world.claim()
    world.finish(done)
    world.fail(dead)
    if renewed:
        world.claims.renew([running])
    before = dump(world)
    clean(world)
    assert dump(world) == before
    assert world.finish(running).lost == []
    assert world.state("running") == "finished"


def dump(world: World) -> dict[str, object]:
    """Every key's content."""
    return {key: world.redis.dump(key) for key in sorted(world.all_keys()) if not key.startswith("rq:jk:reply")}


def test_rq_scheduler_stays_away(world: World) -> None:
    """While a sweep holds RQ's scheduler lock, RQ's scheduler does not promote behind us."""
    world.enqueue(world.new("j", delay_ms=1000))
    world.sweeps.promote("a")
    scheduler = RQScheduler(["a"], connection=world.redis, serializer="json")
    assert scheduler.acquire_locks() == set()
    assert 50 < world.redis.ttl("rq:scheduler-lock:a") <= 60


def test_a_running_rq_scheduler_is_respected(world: World) -> None:
    """A lock that RQ's scheduler holds is neither taken nor prolonged."""
    world.redis.set("rq:scheduler-lock:a", "theirs", ex=20)
    world.sweeps.promote("a")
    assert world.redis.get("rq:scheduler-lock:a") == b"theirs"
    assert world.redis.ttl("rq:scheduler-lock:a") <= 20
