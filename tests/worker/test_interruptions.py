"""Timeouts, stop commands, lost claims and attempts that do not end, on a real server."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from jobkit.errors import JobCancelled, JobFailed
from jobkit.jobs import Job, JobState
from jobkit.payloads import Payload
from jobkit.policies import Fixed, Retry
from jobkit.processing import processor
from jobkit.queues import QueueSpec
from jobkit.worker.outcomes import Snoozed

ONCE = Retry(attempts=1)


class Run(Payload, name="run", queue="q"):
    n: int = 0


class ARun(Payload, name="arun", queue="q"):
    n: int = 0


def test_a_thread_is_timed_out_and_retried(bench: Callable[..., Any], spin: Callable[..., None]) -> None:
    """An attempt over its timeout fails and can be retried; the next job on the worker is untouched."""
    b = bench(QueueSpec("q", concurrency=1, timeout=0.2, retry=Retry(attempts=2, backoff=Fixed(0))))
    ends: list[str] = []

    @processor(Run)
    def run(job: Job[Run]) -> None:
        try:
            if job.attempt == 1 and job.payload.n:
                spin(threading.Event())
        except BaseException as error:
            ends.append(type(error).__name__)
            raise

    b.started(run)
    b.enqueue(Run(n=1)).result(10)
    b.enqueue(Run()).result(10)
    line = b.lines.wait_for("job failed")
    assert ends == ["JobTimeout"]
    assert "longer than its timeout of 0.2 s" in line.error
    assert "test_interruptions.py" in line.error


def test_a_task_is_timed_out(bench: Callable[..., Any]) -> None:
    """An async attempt over its timeout is cancelled and fails."""
    b = bench(QueueSpec("q", timeout=0.1, retry=ONCE))
    ends: list[str] = []

    @processor(ARun)
    async def arun(job: Job[ARun]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    b.started(arun)
    with pytest.raises(JobFailed, match="JobTimeout"):
        b.enqueue(ARun()).result(10)
    assert ends == ["cancelled"]


def test_a_processor_that_cancels_itself_fails(bench: Callable[..., Any]) -> None:
    """CancelledError, SystemExit and KeyboardInterrupt from a processor are failures; the worker goes on."""
    b = bench(QueueSpec("q", retry=ONCE))

    @processor(ARun)
    async def arun(job: Job[ARun]) -> None:
        raise [asyncio.CancelledError, SystemExit, KeyboardInterrupt][job.payload.n]

    @processor(Run)
    def run(job: Job[Run]) -> None:
        raise [asyncio.CancelledError, SystemExit, KeyboardInterrupt][job.payload.n]

    b.started(run, arun)
    for n, name in enumerate(["CancelledError", "SystemExit", "KeyboardInterrupt"]):
        for handle in (b.enqueue(Run(n=n)), b.enqueue(ARun(n=n))):
            with pytest.raises(JobFailed, match=name):
                handle.result(10)


def test_rq_stops_a_job(bench: Callable[..., Any], spin: Callable[..., None]) -> None:
    """RQ's stop-job command ends a running attempt; the job is stopped, not retried."""
    b = bench()
    entered = threading.Event()

    @processor(Run)
    def run(job: Job[Run]) -> None:
        entered.set()
        spin(threading.Event())

    from rq.command import send_stop_job_command

    b.started(run)
    handle = b.enqueue(Run())
    assert entered.wait(10)
    send_stop_job_command(b.store.client, handle.id, serializer="json")
    with pytest.raises(JobCancelled, match="stopped"):
        handle.result(10)
    assert handle.status().state is JobState.STOPPED


def test_cancel_ends_a_running_job(bench: Callable[..., Any]) -> None:
    """Cancelling a running job interrupts its attempt; nothing of it is recorded."""
    b = bench()
    entered, ended = threading.Event(), threading.Event()

    @processor(ARun)
    async def arun(job: Job[ARun]) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    b.started(arun)
    handle = b.enqueue(ARun())
    assert entered.wait(10)
    assert handle.cancel()
    assert ended.wait(10)
    with pytest.raises(JobCancelled):
        handle.result(10)
    b.lines.wait_for("job had been cancelled")
    assert handle.status().state is JobState.CANCELED


def test_commands_shut_down_and_kill(bench: Callable[..., Any], spin: Callable[..., None]) -> None:
    """kill-horse stops all running jobs, unknown commands are told in the log, shutdown ends the worker."""
    b = bench()
    entered = threading.Semaphore(0)

    @processor(Run)
    def run(job: Job[Run]) -> None:
        entered.release()
        spin(threading.Event())

    worker = b.started(run)
    handles = [b.enqueue(Run()), b.enqueue(Run())]
    assert entered.acquire(timeout=10)
    assert entered.acquire(timeout=10)

    def send(**command: str) -> None:
        b.redis("PUBLISH", f"rq:pubsub:{worker.name}", json.dumps(command))

    send(command="kill-horse")
    for handle in handles:
        with pytest.raises(JobCancelled):
            handle.result(10)
    send(command="dance")
    b.lines.wait_for("unknown command", command="dance")
    send(command="stop-job", job_id="elsewhere")
    b.lines.wait_for("asked to stop a job that does not run here", job_id="elsewhere")
    send(command="shutdown")
    assert worker.join(10)


def test_an_attempt_that_does_not_end_is_given_up(bench: Callable[..., Any], gate: Any) -> None:
    """A thread that no exception reaches is given up after the grace, fenced, and keeps its slot until it ends."""
    b = bench(QueueSpec("q", concurrency=3, timeout=0.05, retry=ONCE))
    late: list[str] = []
    ended = threading.Event()

    @processor(Run)
    def run(job: Job[Run]) -> None:
        if job.payload.n:
            try:
                gate.enter()
            finally:
                try:
                    job.progress(50)
                except BaseException as error:
                    late.append(type(error).__name__)
                    raise
                finally:
                    ended.set()

    worker = b.started(run, grace=0.05)
    handle = b.enqueue(Run(n=1))
    gate.wait_entered()
    with pytest.raises(JobFailed, match="given up") as caught:
        handle.result(10)
    assert "self._open.wait" in str(caught.value) or "in enter" in str(caught.value)
    b.lines.wait_for("an attempt does not end; its slot stays taken")
    assert worker._slots.stuck == 1
    b.enqueue(Run()).result(10)
    gate.open()
    assert ended.wait(10)
    b.lines.wait_for("a given-up attempt has ended; its slot is free")
    assert worker._slots.stuck == 0
    assert handle.status().state is JobState.FAILED
    b.enqueue(Run()).result(10)


def test_half_the_slots_lost_ends_the_worker(bench: Callable[..., Any], gate: Any) -> None:
    """When half of the slots are held by attempts that do not end, the worker ends as failed."""
    b = bench(QueueSpec("q", concurrency=2, timeout=0.05, retry=ONCE))

    @processor(Run)
    def run(job: Job[Run]) -> None:
        gate.enter()

    worker = b.started(run, grace=0.05)
    b.enqueue(Run())
    gate.wait_entered()
    assert worker.join(10)
    assert worker.failed
    assert "half of the slots are held by attempts that do not end: the worker ends" in b.lines.messages()


def test_a_lost_claim_ends_the_attempt(bench: Callable[..., Any]) -> None:
    """An attempt whose claim is taken away ends at its next call with LostClaim, and nothing is recorded."""
    b = bench(QueueSpec("q", concurrency=1, retry=ONCE))
    entered, go, ends = threading.Event(), threading.Event(), []

    @processor(Run)
    def run(job: Job[Run]) -> None:
        entered.set()
        assert go.wait(10)
        try:
            job.progress(10)
        except BaseException as error:
            ends.append(type(error).__name__)
            raise

    b.started(run)
    handle = b.enqueue(Run())
    assert entered.wait(10)
    b.redis("HSET", f"rq:job:{handle.id}", "jk_token", "somebody-else")
    go.set()
    b.lines.wait_for("attempt ended without a claim")
    assert ends == ["LostClaim"]
    assert b.redis("HGET", f"rq:job:{handle.id}", "jk_token") == b"somebody-else"


def test_renewal_notices_a_lost_claim(bench: Callable[..., Any], spin: Callable[..., None]) -> None:
    """A claim that is lost while the attempt computes is noticed by the renewal, which ends the attempt."""
    b = bench(QueueSpec("q", concurrency=1, retry=ONCE))
    entered, ends = threading.Event(), []
    ended = threading.Event()

    @processor(Run)
    def run(job: Job[Run]) -> None:
        if job.payload.n:
            entered.set()
            try:
                spin(threading.Event())
            except BaseException as error:
                ends.append(type(error).__name__)
                ended.set()
                raise

    b.started(run, lease=1.0)
    handle = b.enqueue(Run(n=1))
    assert entered.wait(10)
    b.redis("HSET", f"rq:job:{handle.id}", "jk_token", "somebody-else")
    assert ended.wait(10)
    assert ends == ["LostClaim"]
    b.enqueue(Run()).result(10)


def test_long_jobs_keep_their_lease(bench: Callable[..., Any], gate: Any) -> None:
    """A job that runs longer than its lease stays its worker's, and RQ's tools see its execution."""
    b = bench(QueueSpec("q", concurrency=1))

    @processor(Run)
    def run(job: Job[Run]) -> None:
        gate.enter()

    worker = b.started(run, lease=1.0)
    renewed: list[float] = []
    twice = threading.Event()
    renew = worker._keeper._renew

    def watching(claims: Any) -> Any:
        lost = renew(claims)
        if claims:
            renewed.append(1)
            if len(renewed) > 4:
                twice.set()
        return lost

    worker._keeper._renew = watching
    handle = b.enqueue(Run())
    gate.wait_entered()
    assert twice.wait(10)
    assert b.redis("HGET", f"rq:job:{handle.id}", "jk_exec") == b"1"
    gate.open()
    handle.result(10)
    assert handle.status().attempt == 1


def test_suspects_run_one_at_a_time(bench: Callable[..., Any], gate: Any) -> None:
    """Of jobs whose worker died before, a worker runs one at a time; the others wait and use no attempt."""
    b = bench(QueueSpec("q", concurrency=4))
    running: list[str] = []

    @processor(Run)
    def run(job: Job[Run]) -> None:
        running.append(job.id)
        if job.payload.n:
            gate.enter()

    suspects = [b.enqueue(Run(n=1)), b.enqueue(Run(n=1))]
    for each in suspects:
        b.redis("HSET", f"rq:job:{each.id}", "jk_rescues", 1, "jk_epoch", 1)
    b.started(run)
    gate.wait_entered()
    b.lines.wait_for("job put off")
    b.enqueue(Run()).result(10)
    assert len([each for each in suspects if each.id in running]) == 1
    gate.open()
    for each in suspects:
        each.result(10)
        assert each.status().attempt == 1


def test_a_suspect_waits_for_the_record_of_the_one_before(bench: Callable[..., Any], gate: Any) -> None:
    """A suspect that has ended still counts as running until that is recorded: it pays for no other one's death."""
    b = bench()
    reached, go_on = threading.Event(), threading.Event()

    @processor(Run)
    def run(job: Job[Run]) -> None:
        gate.enter()

    suspect = b.enqueue(Run())
    b.redis("HSET", f"rq:job:{suspect.id}", "jk_rescues", 1, "jk_epoch", 1)
    worker = b.started(run)
    gate.wait_entered()
    advance = worker._finisher._channel.advance

    def held_up(*args: Any, **options: Any) -> Any:
        reached.set()
        assert go_on.wait(10)
        return advance(*args, **options)

    worker._finisher._channel.advance = held_up
    (running,) = worker._held.all()
    gate.open()
    assert reached.wait(10)
    assert running.over
    other = worker._dispatch._read(attrs.evolve(running.claimed, id="other", token="t-1"))  # noqa: S106 - a claim's
    assert isinstance(other.outcome, Snoozed)
    go_on.set()
    suspect.result(10)
