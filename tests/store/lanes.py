"""Jobs in lanes, the rules of their queues, and what has to hold of both at any time."""

import json
from collections.abc import Sequence
from typing import Any

import attrs

from jobkit.flow import SEPARATOR as US
from jobkit.store.records import Claimed, NewJob
from jobkit.store.sweeps import SweepReport
from tests.store.world import NO_WAIT, World, done_with


def lane(*pieces: str, fair: str = "") -> str:
    """The name of a lane."""
    return US.join((fair, *pieces))


@attrs.define
class Line:
    """A world's laned queues. Time stands still unless it is told to pass."""

    world: World

    def __attrs_post_init__(self) -> None:
        """Go ahead of the server's clock, which goes on by itself."""
        self.world.pass_time(1_000_000)
        self.world.sweeps.publish(self.world.rules)

    def new(
        self, job_id: str | None = None, *pieces: str, fair: str = "", queue: str = "a", boost: int = 0, **more: Any
    ) -> NewJob:
        """A job for a lane; `boost` is in ms."""
        flow = json.dumps({"l": lane(*pieces, fair=fair), "b": boost}).encode()
        return self.world.new(job_id, queue, flow=flow, **more)

    def put(self, job_id: str, *pieces: str, **options: Any) -> None:
        """Enqueue a job into a lane."""
        self.world.enqueue(self.new(job_id, *pieces, **options))

    def rule(self, queue: str = "a", *, revision: int = 0, **told: Any) -> bool:
        """Put rules in force; answers whether they are."""
        text = json.dumps({"rev": revision, "keyed": {}, **told})
        return self.world.sweeps.enforce({queue: text}, revision) == []

    def claim(self, want: int = 100, queue: str = "a") -> list[str]:
        """Claim; answers the ids."""
        return [claimed.id for claimed in self.claims(want, queue)]

    def claims(self, want: int = 100, queue: str = "a") -> list[Claimed]:
        """Claim; answers the claims."""
        return self.world.claim(want, queue)

    def wait(self, want: int = 1, queue: str = "a") -> float | None:
        """What a claim that is given nothing is told."""
        batch = self.world.channel.claim({queue: want}, block=NO_WAIT)
        assert batch.claimed == []
        return batch.wait

    def finish(self, *claims: Claimed, want: dict[str, int] | None = None) -> list[str]:
        """Finish; answers what it was given for it."""
        batch = self.world.channel.advance([done_with(each) for each in claims], want or {})
        assert batch.lost == []
        return [claimed.id for claimed in batch.claimed]

    def sweep(self) -> SweepReport:
        """One sweep."""
        return self.world.sweeps.sweep()

    def rung(self, queue: str = "a") -> bool:
        """Whether the queue's bell rings; it is silenced."""
        return bool(self.world.redis.delete(f"rq:jk:bell:{queue}"))

    def left(self) -> set[str]:
        """Keys of lanes and limits that are there, less those that expire and those of a queue for ever."""
        kinds = (
            "lane",
            "lanes",
            "ring",
            "run",
            "places",
            "held",
            "blocked",
            "blocked_by",
            "blocking",
            "wake",
            "recheck",
        )
        return {key for key in self.world.all_keys() if key.split(":")[2:3] and key.split(":")[2] in kinds}

    def check(self, queues: Sequence[str] = ("a", "b")) -> None:
        """Hold the invariants of lanes that are said in flow.lua."""
        r = self.world.redis
        for queue in queues:
            ring = {member.decode() for member in r.zrange(f"rq:jk:ring:{queue}", 0, -1)}
            blocked_by = {k.decode(): v.decode() for k, v in r.hgetall(f"rq:jk:blocked_by:{queue}").items()}
            wake = {member.decode() for member in r.zrange(f"rq:jk:wake:{queue}", 0, -1)}
            blocking = {member.decode() for member in r.smembers("rq:jk:blocking")}
            for key in self.world.all_keys():
                if not key.startswith(f"rq:jk:lane:{queue}/"):
                    continue
                name = key.removeprefix(f"rq:jk:lane:{queue}/")
                fair = name.split(US)[0]
                shown = r.zscore(f"rq:jk:lanes:{queue}/{fair}", name) is not None
                assert shown != (name in blocked_by), name
                assert not shown or fair in ring, name
            for name, limit in blocked_by.items():
                assert r.zscore(f"rq:jk:blocked:{limit}", f"{queue}{US}{name}") is not None
                assert limit in wake or limit in blocking, limit
            held = {member.decode(): where.decode() for member, where in r.hgetall(f"rq:jk:places:{queue}").items()}
            leases = self.world.members(f"rq:jk:lease:{queue}")
            assert leases.issuperset(held)
        for key in self.world.all_keys():
            if key.startswith("rq:jk:run:"):
                for holder in self.world.members(key):
                    queue, owner = holder.split(US)
                    assert r.hexists(f"rq:jk:places:{queue}", owner), holder
            if key.startswith("rq:jk:blocked:"):
                for waiter in self.world.members(key):
                    queue, name = waiter.split(US, 1)
                    assert r.hget(f"rq:jk:blocked_by:{queue}", name) == key.removeprefix("rq:jk:blocked:").encode()
