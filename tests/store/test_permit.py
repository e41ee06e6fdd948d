"""Permits: a named window that all attempts of all workers share."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobkit.store.records import Claimed
from tests.store.world import World


def permit(world: World, claim: Claimed, count: int = 2, per: float = 10.0, name: str = "crm") -> float:
    """Ask for one."""
    return world.claims.permit(claim, name, count=count, per=per)


def test_a_window_admits_so_many(world: World) -> None:
    """As many as the window admits are counted at once; the next is told when there is room, and is not counted."""
    claim = world.started()
    assert permit(world, claim) == permit(world, claim) == 0
    assert 9 < permit(world, claim) <= 10
    world.pass_time(4)
    assert 5 < permit(world, claim) <= 6
    world.pass_time(6)
    assert permit(world, claim) == 0


def test_workers_and_queues_share_a_window(world: World) -> None:
    """A name is one window for all workers and all queues; another name is another window."""
    claim = world.started()
    world.enqueue(world.new("elsewhere", "b"))
    (other,) = world.other_claims.channel("x").claim({"b": 1}, block=0.0).claimed
    assert permit(world, claim, count=1) == 0
    assert world.other_claims.permit(other, "crm", count=1, per=10.0) > 9
    assert world.other_claims.permit(other, "erp", count=1, per=10.0) == 0


def test_a_stale_attempt_is_not_counted(world: World) -> None:
    """An attempt that has lost its job gets no permit, and uses none up."""
    stale = world.started()
    world.pass_time(31)
    world.rescue()
    fresh = world.claim_one()
    assert permit(world, stale, count=1) < 0
    assert permit(world, fresh, count=1) == 0


def test_a_window_goes_by_itself(one_world: World) -> None:
    """The times that a window remembers expire a second after they stop to matter, and are no more than it admits."""
    claim = one_world.started()
    for _ in range(5):
        permit(one_world, claim, count=3, per=2.0)
    assert one_world.redis.llen("rq:jk:win:permit/crm") == 3
    assert 2000 < one_world.redis.pttl("rq:jk:win:permit/crm") <= 3000


@given(
    count=st.integers(1, 5),
    per=st.integers(1, 50),
    pauses=st.lists(st.integers(0, 40), min_size=5, max_size=40),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_window_holds_more(one_world: World, count: int, per: int, pauses: list[int]) -> None:
    """Whenever it is asked, no window of the server's clock holds more than it admits, and no room is left unused."""
    one_world.redis.flushall()
    one_world.enqueue(one_world.new("j", timeout=10_000))
    claim = one_world.claim_one()
    one_world.pass_time(1000)
    now, granted = one_world.now_ms(), list[int]()
    for pause in pauses:
        now += pause * 1000
        one_world.redis.set("rq:jk:clock", now)
        wait = permit(one_world, claim, count=count, per=float(per))
        inside = [each for each in granted if each > now - per * 1000]
        assert (wait == 0) == (len(inside) < count)
        if wait:
            assert round(wait * 1000) == inside[-count] + per * 1000 - now
        else:
            granted.append(now)
