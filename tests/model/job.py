"""What the model knows of a job, and the rules that both sides keep. Times are in ms."""

from collections.abc import Mapping

import attrs

from jobkit.store.records import QueueRules

QUEUES = ("a", "b")
RULES: Mapping[str, QueueRules] = {
    "a": QueueRules(keep_done=2, keep_dead=2, done_age_ms=50_000, dead_age_ms=70_000),
    "b": QueueRules(keep_done=1, keep_dead=1),
}
RANKS = {"done": "finished", "dead": "failed", "gone": "canceled"}
"""By what the jobs of RQ's registries are counted: finished ones by the registry, the others by a zset of ours."""
RANK_OF = {"finished": "done", "failed": "dead", "stopped": "dead", "canceled": "gone"}
RELEASES = {"w1": "r1", "w2": "r1", "w3": "r2"}
LEASE = 30_000
OFFER_LIVES = 20_000
"""An offer goes by the server's own clock: one of this many ms outlives the test's example."""
BUDGET = 3
OUTAGE = 15_000
FINISHED, FAILED, STOPPED, RETRIED = 1, 2, 3, 4


@attrs.define
class ModelJob:
    """One job. `key` is its dedupe key, `token` is there while it is owned, `tried` is the claim of its last beginning.

    `is_offered`: it was parked for long enough that its offer to other releases is sure to be there still.
    """

    queue: str
    state: str
    created: int
    key: str = ""
    enqueued: int = 0
    due: int = 0
    ended: int = 0
    token: str | None = None
    worker: str | None = None
    lease_end: int = 0
    renewed: bool = False
    done: str | None = None
    finished_by: str | None = None
    tried: str | None = None
    epoch: int = 0
    failed: int = 0
    rescues: int = 0
    died: list[str] = attrs.field(factory=list)
    parked: int = 0
    parked_by: list[str] = attrs.field(factory=list)
    is_offered: bool = False
    reason: str | None = None
    error: str | None = None
    progress: str | None = None
    saves: int = 0
    steps: dict[str, str] = attrs.field(factory=dict)
    results: list[tuple[int, str]] = attrs.field(factory=list)
    told: bool = False
    gave: bool = False


@attrs.define
class Answer:
    """What a claim or an advance has to answer. `kept`: it changed something, and is given again if it was lost."""

    claimed: list[str]
    lost: list[str]
    wait: int | None
    kept: bool
