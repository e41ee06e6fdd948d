"""`jobkit worker --processes 2` on a real server: it keeps two workers, and ends as it is asked."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_killed_child_is_replaced(pair: Any, pair_jobs: Any) -> None:
    """After kill -9 of a child another takes its place; readiness goes, and comes back."""
    assert pair.ready_file.read_text() == f"{pair.pid}\n"
    killed, other = pair.claiming()
    pair.systemd.drain()
    os.kill(killed, signal.SIGKILL)
    died = pair.wait_for("worker process ended; starting another", worker_pid=killed)
    assert died["ended"] == "signal SIGKILL"
    assert 0.5 <= died["pause_s"] <= 1.0
    pair.systemd.wait_for("STATUS=1 of 2 processes claim, 1 absent")
    assert not pair.ready_file.exists()
    pair.systemd.wait_for("STATUS=2 of 2 processes claim")
    assert pair.ready_file.exists()
    [done] = pair_jobs.enqueue("quick")
    assert done.result(10) in pair.claiming()
    assert other in pair.claiming()


def test_children_are_not_taken_for_the_service(pair: Any, pair_jobs: Any) -> None:
    """What systemd tells the supervisor alone is not in its children's environment."""
    [done] = pair_jobs.enqueue("quick")
    assert f"{done.result(10)} None" in pair_jobs.redis.lrange("entered", 0, -1)


def test_sighup_replaces_one_after_another(pair: Any, pair_jobs: Any) -> None:
    """SIGHUP brings new children, each claiming before the old one drains; readiness never goes, no job is lost."""
    before, old = pair.ready_file.stat().st_ino, set(pair.claiming())
    pair_jobs.redis.delete("entered")
    handles = pair_jobs.enqueue("told", 2)
    pair_jobs.entered(2)
    pair.signal(signal.SIGHUP)
    pair.wait_for("stopping: finishing what runs")
    pair_jobs.redis.rpush("go", "go", "go")
    left = {pair.wait_for("worker process ended")["worker_pid"] for _ in old}
    assert left == old
    assert {handle.result(10) for handle in handles} <= old
    assert pair.ready_file.stat().st_ino == before
    assert set(pair.claiming()).isdisjoint(old)


def test_a_hung_child_is_replaced(pair: Any) -> None:
    """A child that says nothing for its lease, of 3 s here, is killed, and another is started."""
    hung = pair.claiming()[0]
    os.kill(hung, signal.SIGSTOP)
    assert pair.wait_for("killing a worker process", worker_pid=hung)["why"] == "silent for 3 s"
    pair.wait_for("worker process ended; starting another", worker_pid=hung)
    assert pair.wait_for("worker process started")["worker_pid"] != hung


def test_ctrl_c_drains_and_a_second_puts_back(pair: Any, pair_jobs: Any) -> None:
    """Ctrl-C in a terminal counts once for all processes: running jobs finish; a second one puts back what runs.

    The last test of the pair.
    """
    pair_jobs.redis.delete("entered", "go")
    [told] = pair_jobs.enqueue("told")
    [stuck] = pair_jobs.enqueue("stuck")
    pair_jobs.entered(2)
    os.killpg(pair.pid, signal.SIGINT)
    pair.systemd.wait_for("STOPPING=1")
    pair_jobs.redis.rpush("go", "go")
    assert told.result(10)
    assert str(stuck.status().state) == "started"
    os.killpg(pair.pid, signal.SIGINT)
    assert pair.ended() == 0
    assert str(stuck.status().state) == "queued"


def test_200_jobs_in_hand_are_put_back_in_time(running: Callable[..., Any], jobs: Any) -> None:
    """SIGTERM with 200 jobs that do not end: within the timeout and 2 s all are queued again; the exit code is 0."""
    worker = running("--processes", "2", JOBKIT_SHUTDOWN_TIMEOUT="0.5")
    worker.ready()
    handles = jobs.enqueue("stuck", 200)
    assert len({each.split()[0] for each in jobs.entered(200)}) == 2
    asked = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert time.monotonic() - asked < 2.5
    assert jobs.states(handles) == {"queued"}
    assert {handle.status().attempt for handle in handles} == {0}


def test_a_child_that_does_not_leave_is_killed(running: Callable[..., Any], jobs: Any) -> None:
    """A child that hangs while it should drain is killed 2 s after the shutdown timeout; the exit code says so: 1."""
    worker = running("--processes", "2", JOBKIT_SHUTDOWN_TIMEOUT="0")
    worker.ready()
    hung, other = worker.children()
    os.kill(hung, signal.SIGSTOP)
    asked = time.monotonic()
    worker.signal(signal.SIGTERM)
    worker.wait_for("killing a worker process", worker_pid=hung, why="did not leave in time")
    assert 1.9 < time.monotonic() - asked < 3
    assert worker.ended() == 1
    ended = {line["worker_pid"]: line["ended"] for line in worker.seen if line["event"] == "worker process ended"}
    assert ended == {hung: "signal SIGKILL", other: "exit code 0"}


def test_no_child_outlives_its_supervisor(running: Callable[..., Any], jobs: Any) -> None:
    """When the supervisor is killed its children drain, put back what is left, and are gone."""
    worker = running("--processes", "2", JOBKIT_SHUTDOWN_TIMEOUT="0.2")
    worker.ready()
    handles = jobs.enqueue("stuck", 2)
    jobs.entered(2)
    worker.signal(signal.SIGKILL)
    assert worker.ended() == -signal.SIGKILL
    events = [line["event"] for line in worker.seen]
    assert events.count("the supervisor is gone: this process drains and ends") == 2
    assert jobs.states(handles) == {"queued"}


def test_wrong_configuration_ends_with_2_at_once(running: Callable[..., Any], folder: Path) -> None:
    """A child that ends with 2 is not restarted: the supervisor ends with 2 too, and the reason is told once."""
    (folder / "app.py").write_text("from jobkit import JobKit, QueueSpec\nkit = JobKit(queues=[QueueSpec('mail')])")
    worker = running("--processes", "2", "mial")
    assert worker.ended() == 2
    assert len(worker.children()) == 1
    assert [line for line in worker.plain if "did you mean 'mail'" in line] == worker.plain[-1:]
