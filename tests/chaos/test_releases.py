"""Workers of an old and a new release on one queue, as in every deploy; the old one is killed in the end."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobkit.errors import ResultTimeout
from jobkit.factory import JobKit
from jobkit.jobs import JobState
from jobkit.soak.audit import Audit
from jobkit.soak.effects import Effects
from jobkit.store.operations import attempts
from tests.chaos import releases
from tests.chaos.life import LONGEST
from tests.chaos.releases import HELD, QUEUE, Added, NewKept, NewWider, OldKept, OldWider

EACH = 15
ENDS = 20.0
BOUND = 3.0
"""Seconds that a parked job waits at most while a worker that can run it has a free slot."""


@pytest.fixture
def start(store_url: str, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Start a worker process of a release; killed at the end, where it still runs."""
    started: list[Any] = []

    def make(release: str) -> Any:
        started.append(releases.start(store_url, release, tmp_path))
        return started[-1]

    yield make
    for process in started:
        process.kill()
        process.join(ENDS)
        process.close()


def test_old_and_new(store_url: str, tmp_path: Path, start: Callable[[str], Any]) -> None:
    """What the old release cannot read waits, unhurt, for the new one, which runs the old one's jobs too; each once."""
    with releases.kit_of(store_url, "old") as before, releases.kit_of(store_url, "new") as after:
        one = start("old")
        held = before.enqueue(OldKept(n=HELD))
        mixed = [
            handle
            for n in range(EACH)
            for handle in (
                after.enqueue(NewKept(n=n, unit="m")),
                before.enqueue(OldKept(n=n)),
                after.enqueue(NewWider(n=n, extra="x")),
                before.enqueue(OldWider(n=n)),
                after.enqueue(Added(n=n)),
            )
        ]
        newer, older = [h for i, h in enumerate(mixed) if i % 5 in {0, 2, 4}], mixed[1::5] + mixed[3::5]
        assert {handle.result(LONGEST) for handle in older} == {"old"}
        # The old worker took the jobs in turn: it has met all newer ones but the last, perhaps.
        for handle in newer[:-6]:
            status = handle.status()
            assert (status.state, status.attempt) == (JobState.SCHEDULED, 0)
            assert status.reason, status
        assert held.status().state is JobState.STARTED

        two = start("new")
        later = [before.enqueue(OldKept(n=EACH + n)) for n in range(EACH)]
        assert {handle.result(LONGEST) for handle in later} <= {"old", "new, old"}

        assert {handle.result(ENDS) for handle in newer} == {"new", "new, m"}

        one.kill()
        one.join(ENDS)
        assert held.result(ENDS) == "new, old"
        audit = Audit(after.store, QUEUE)
        names = sorted(audit.workers())
        assert len(names) == 2
        two.terminate()
        two.join(ENDS)
        assert (one.exitcode, two.exitcode) == (-signal.SIGKILL, 0)

        every = [held, *older, *newer, *later]
        effects = {release: Effects.read(tmp_path / release).ends for release in ("old", "new")}
        runs = Counter({each.id: sum(len(ends.get(each.id, ())) for ends in effects.values()) for each in every})
        assert set(runs.values()) == {1}
        assert not effects["old"].keys() & {each.id for each in newer}
        for each in every:
            assert [entry.kind for _, entry in after.store.run(attempts(after.store.keys, each.id))] == [1]
            assert each.status().attempt == 1
        assert audit.unfinished() == 0
        assert audit.leaks(names) == []


def test_a_newer_job_waits_seconds(store_url: str, start: Callable[[str], Any]) -> None:
    """A job that two old workers cannot read is with them once, and starts within 3 s on the one that can read it."""
    with releases.kit_of(store_url, "new") as kit:
        audit = Audit(kit.store, QUEUE)
        first, _, _ = (start(release) for release in ("new", "old", "old"))
        ids, waits = [], []
        for n in [1, 1, 1, 40]:
            asked = time.monotonic()
            jobs = [kit.enqueue(Added(n=each)) for each in range(n)]
            assert {each.result(ENDS) for each in jobs} == {"new"}
            waits.append(time.monotonic() - asked)
            ids += [each.id for each in jobs]
        assert max(waits) < BOUND, waits
        assert epochs(kit, ids) <= {1, 2}  # the two old ones had each once at most

        first.kill()
        first.join(ENDS)
        left = [kit.enqueue(Added(n=n)) for n in range(40)]
        with pytest.raises(ResultTimeout):  # as long as two looks take, and shorter than the first wait
            left[0].result(2.5)
        assert epochs(kit, [each.id for each in left[:-1]]) == {1}

        start("new")
        asked = time.monotonic()
        assert {each.result(ENDS) for each in left} == {"new"}
        assert time.monotonic() - asked < BOUND
        assert audit.unfinished() == 0
        assert audit.leaks([]) == []


def epochs(kit: JobKit, ids: Sequence[str]) -> set[int]:
    """How often these jobs were claimed."""
    keys = kit.store.keys
    return {int(each) for each in kit.store.run_many([("HGET", keys.job(job_id), "jk_epoch") for job_id in ids])}
