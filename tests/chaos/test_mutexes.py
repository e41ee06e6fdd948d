"""Jobs of two queues with one mutex a site, on worker processes that are killed."""

import json
import logging
import os
import threading
from typing import Any

import redis

from jobkit import Job, JobKit, Payload, QueueSpec, Settings, processor
from jobkit.embedded.guard import die_with_parent
from tests.chaos.life import prepare
from tests.chaos.victims import CONTEXT

SITES = 10
JOBS = 300
WORKERS = 3
KILL_AFTER = (30, 70, 110, 150)
"""Begun attempts after which a worker is killed."""
LEASE = 2.0
WORK = 0.02
"""Seconds of an attempt: long enough for others to meet it."""
ENDS = 60.0
EVENTS = "events"
"""A list outside of jobkit's keys: who began and ended what, in the order in which it happened."""


class Sync(Payload, name="sync", queue="left", mutex="site:{site}"):
    """Work on a site."""

    site: int


class Report(Payload, name="report", queue="right", mutex="site:{site}"):
    """Other work on a site, in another queue."""

    site: int


def kit_of(url: str) -> JobKit:
    """The kit of both queues, whose jobs say when they begin and end."""
    client = redis.Redis.from_url(url)

    def say(what: str, job: Job[Any]) -> None:
        client.rpush(EVENTS, json.dumps([what, job.payload.site, job.id, os.getpid()]))

    def work(job: Job[Any]) -> None:
        say("begin", job)
        threading.Event().wait(WORK)
        say("end", job)

    @processor(Sync)
    def sync(job: Job[Sync]) -> None:
        work(job)

    @processor(Report)
    def report(job: Job[Report]) -> None:
        work(job)

    queues = [QueueSpec("left", concurrency=4), QueueSpec("right", concurrency=4, fair_by="site")]
    return JobKit(Settings(redis_url=url, lease=LEASE), queues=queues, processors=[sync, report])


def serve(url: str) -> None:
    """Work until killed."""
    die_with_parent(os.getppid())()
    logging.disable()
    with kit_of(url) as kit:
        kit.worker().run()


def start(url: str) -> Any:
    """A worker process."""
    CONTEXT.set_forkserver_preload([__name__, "jobkit.worker.worker"])
    process = CONTEXT.Process(target=serve, args=(url,), daemon=True)
    process.start()
    return process


def test_never_two_at_once(store_url: str) -> None:
    """Of the jobs with one mutex never two run at once, in whatever queue and process, and all run, kills or no."""
    prepare(store_url)
    with kit_of(store_url) as kit, redis.Redis.from_url(store_url, socket_timeout=None) as client:
        handles = kit.enqueue_many([(Sync if n % 2 else Report)(site=n % SITES) for n in range(JOBS)])
        workers = [start(store_url) for _ in range(WORKERS)]
        ended: set[str] = set()
        holders: dict[int, tuple[str, int]] = {}
        dead: set[int] = set()
        begun, kills = 0, list(KILL_AFTER)
        while len(ended) < JOBS:
            found: Any = client.blpop([EVENTS], timeout=ENDS)
            assert found, f"{JOBS - len(ended)} jobs wait and nothing happens"
            what, site, job_id, pid = json.loads(found[1])
            if what == "dead":
                dead.add(pid)
            elif what == "begin":
                holder = holders.get(site)
                assert holder is None or holder[1] in dead, (site, holder, job_id)
                holders[site] = (job_id, pid)
                begun += 1
            else:
                assert holders.pop(site) == (job_id, pid)
                ended.add(job_id)
            if kills and begun >= kills[0]:
                kills.pop(0)
                victim = workers.pop(0)
                victim.kill()
                victim.join(ENDS)
                client.rpush(EVENTS, json.dumps(["dead", -1, "", victim.pid]))
                victim.close()
                workers.append(start(store_url))
        for handle in handles:
            handle.result(ENDS)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(ENDS)
            worker.close()
        assert not kills
        assert len(dead) == len(KILL_AFTER)
        for queue in ("left", "right"):
            assert not client.exists(f"rq:jk:places:{queue}", f"rq:deferred:{queue}", f"rq:jk:lease:{queue}")
