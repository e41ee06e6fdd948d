"""Children that die, are killed or grow: what it costs their job, and that it costs no other."""

import multiprocessing.forkserver
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from jobkit.errors import JobCancelled, JobFailed
from jobkit.jobs import JobState
from tests.isolation.jobs import MIB, ARun, Run

DEATHS = {
    "exit": "ended with exit status 3",
    "silent": "ended with exit status 0",
    "kill": "was killed by SIGKILL",
    "segfault": "was killed by SIGSEGV",
}


@pytest.mark.parametrize("how", DEATHS)
def test_a_death_fails_its_job_alone(isolated: Callable[..., Any], how: str) -> None:
    """A child that dies fails its job, with the way it died and its peak memory; its neighbour goes on."""
    b = isolated()
    b.start()
    neighbour = b.enqueue(Run(what="told", url=b.bench.url))
    (pid,) = b.entered()
    with pytest.raises(JobFailed, match=rf"ProcessDied: the job's process {DEATHS[how]}.* peak memory was \d+ MiB"):
        b.result(Run(what=how))
    b.go()
    assert neighbour.result(10) == pid
    assert b.result(Run())


def test_what_a_job_forked_does_not_hide_its_death(isolated: Callable[..., Any]) -> None:
    """A child that dies while a process it forked lives on is noticed, and that one is killed with it."""
    b = isolated(timeout=30)
    b.start()
    with pytest.raises(JobFailed, match="SIGKILL"):
        b.result(Run(what="fork"))


@pytest.mark.parametrize("payload", [Run(what="sleep"), Run(what="loop"), ARun(what="sleep")], ids=lambda p: p.what)
def test_a_timeout_kills(isolated: Callable[..., Any], watch: Callable[..., Any], payload: Any) -> None:
    """A job that no exception reaches (a blocking call, a loop in C, a blocked event loop) is killed at its timeout."""
    b = isolated(timeout=1.0)
    b.start()
    handle = b.enqueue(payload.model_copy(update={"url": b.bench.url}))
    child = watch(b.entered())
    with pytest.raises(JobFailed, match=r"JobTimeout: its process was killed; its peak memory was \d+ MiB\n.*of 1.0 s"):
        handle.result(10)
    child.wait_gone()
    assert b.result(Run())


def test_a_timeout_kills_a_child_that_takes_nothing(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """A child that hangs and does not take its job, which is too long for the pipe, is killed at the job's timeout."""
    b = isolated(timeout=1.0, concurrency=1)
    b.start()
    pid = b.result(Run())
    child = watch([pid])
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(JobFailed, match="JobTimeout: its process was killed"):
        b.result(Run(url=os.urandom(450_000).hex()))  # which does not get smaller by compression
    child.wait_gone()
    assert b.result(Run()) != pid


def test_a_job_ends_what_it_forked(isolated: Callable[..., Any]) -> None:
    """SIGTERM from a job ends a process that it forked, though the child itself leaves that to the worker."""
    b = isolated(timeout=10)
    b.start()
    assert b.result(Run(what="terminate")) == -signal.SIGTERM


def test_programs_end_with_their_job(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """A program that a job has started is killed with it."""
    b = isolated(timeout=0.5)
    b.start()
    handle = b.enqueue(Run(what="program", url=b.bench.url))
    both = watch(b.entered())
    with pytest.raises(JobFailed, match="JobTimeout"):
        handle.result(10)
    both.wait_gone()


def test_a_program_in_its_own_session_lives_on(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """What the pages say of daemons: a program that has left the child's process group is not killed with its job."""
    b = isolated(timeout=0.5)
    b.start()
    handle = b.enqueue(Run(what="daemon", url=b.bench.url))
    pid, program = b.entered()
    child = watch([pid])
    try:
        with pytest.raises(JobFailed, match="JobTimeout"):
            handle.result(10)
        child.wait_gone()
        os.kill(program, 0)
    finally:
        os.kill(program, signal.SIGKILL)


def test_a_stop_command_kills(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """RQ's stop-job command kills the child; the job is stopped, not retried."""
    from rq.command import send_stop_job_command

    b = isolated()
    b.start()
    handle = b.enqueue(Run(what="loop", url=b.bench.url))
    child = watch(b.entered())
    send_stop_job_command(b.bench.store.client, handle.id, serializer="json")
    with pytest.raises(JobCancelled, match="stopped"):
        handle.result(10)
    child.wait_gone()
    assert handle.status().state is JobState.STOPPED


def test_cancel_kills(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """Cancelling a running job kills its child; nothing of the attempt is recorded."""
    b = isolated()
    b.start()
    handle = b.enqueue(Run(what="loop", url=b.bench.url))
    child = watch(b.entered())
    assert handle.cancel()
    child.wait_gone()
    assert handle.status().state is JobState.CANCELED
    assert b.result(Run())


def test_an_idle_child_is_replaced(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """A child that is killed while it has no job costs no job anything."""
    b = isolated(concurrency=1)
    b.start()
    pid = b.result(Run())
    child = watch([pid])
    os.kill(pid, signal.SIGKILL)
    child.wait_gone()
    handle = b.enqueue(Run())
    assert handle.result(10) != pid
    assert handle.status().attempt == 1


def test_signals_to_the_whole_service(isolated: Callable[..., Any]) -> None:
    """SIGTERM and SIGINT, which a service manager or a terminal sends to all, leave a running job to the worker."""
    b = isolated()
    b.start()
    handle = b.enqueue(Run(what="told", url=b.bench.url))
    (pid,) = b.entered()
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    b.go()
    assert handle.result(10) == pid


def test_jobs_outlive_the_fork_server(isolated: Callable[..., Any], watch: Callable[..., Any]) -> None:
    """The death of multiprocessing's fork server ends no job, and the next child gets a new one."""
    b = isolated(concurrency=1)
    b.start()
    handle = b.enqueue(Run(what="told", url=b.bench.url))
    (pid,) = b.entered()
    server: Any = multiprocessing.forkserver._forkserver
    dead = watch([server._forkserver_pid])
    os.kill(server._forkserver_pid, signal.SIGKILL)
    dead.wait_gone()
    b.go()
    assert handle.result(10) == pid
    with pytest.raises(JobFailed, match="ProcessDied"):
        b.result(Run(what="kill"))
    assert b.result(Run()) != pid


def test_memory_replaces_a_child(isolated: Callable[..., Any]) -> None:
    """A child whose peak passed max_memory finishes its job and is replaced."""
    b = isolated(concurrency=1, max_memory=160 * MIB)
    b.start()
    small = b.result(Run())
    assert b.result(Run()) == small
    assert b.result(Run(what="memory", size=160)) == small
    assert b.result(Run()) != small
    line = b.lines.wait_for("replacing a child process: its memory passed max_memory")
    assert line.peak_memory > 160 * MIB


def test_twice_the_memory_kills(isolated: Callable[..., Any]) -> None:
    """A child that passes twice its max_memory is killed, and its job says so."""
    b = isolated(concurrency=1, max_memory=80 * MIB)
    b.start()
    with pytest.raises(JobFailed, match=r"passed 2 times the queue's max_memory of 80 MiB; its peak memory was \d+"):
        b.result(Run(what="hoard", size=200))


def test_max_jobs_replaces_a_child(isolated: Callable[..., Any]) -> None:
    """A child runs max_jobs jobs, and then another takes its place."""
    b = isolated(concurrency=1, max_jobs=2)
    b.start()
    pids = [b.result(Run()) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
