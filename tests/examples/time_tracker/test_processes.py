"""The app as it is deployed: an API process, worker processes, and Redis between them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from time_tracker.api import Api
from time_tracker.invoices import InvoiceStatus
from time_tracker.outside import ExtractionService
from time_tracker.payloads import ProcessInvoice
from time_tracker.specimens import Specimen
from time_tracker.worker_process import WorkerProcess
from time_tracker.world import World

from jobkit import JobKit, JobState

StartWorker = Callable[..., WorkerProcess]
PATIENCE = 30
"""Seconds a test waits for a process before it fails."""

API = """
import sys
from jobkit import Settings
from time_tracker.api import Api
from time_tracker.jobs import create_kit

with create_kit() as kit:
    for pair in sys.argv[1:]:
        print(Api(kit).process_invoice(*pair.split(":")).id)
print(*sys.modules)
"""


def run_api(url: str, specimens: list[Specimen]) -> tuple[list[str], set[str]]:
    """Run an API process that enqueues these invoices and ends; give the job ids and the modules it had loaded.

    Its environment says where Redis is, and nothing else about the app.
    """
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(filter(None, sys.path)), "JOBKIT_REDIS_URL": url}
    pairs = [f"{each.invoice_id}:{each.tenant_id}" for each in specimens]
    command = [sys.executable, "-c", API, *pairs]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    *ids, modules = ran.stdout.splitlines()
    return ids, set(modules.split())


def test_the_api_enqueues_and_worker_processes_work(
    store_url: str, kit: JobKit, pdfs: list[Specimen], start_worker: StartWorker, gate: Any
) -> None:
    """TT-1: the API process loads no worker code, and two worker processes share the work, each doing some of it."""
    ids, loaded = run_api(store_url, pdfs[:2])
    assert not loaded & {"time_tracker.processors", "time_tracker.container", "sqlalchemy", "pytesseract", "PIL"}
    one_at_a_time = {"JOBKIT_QUEUES__INVOICE_PROCESSING__CONCURRENCY": "1"}
    workers = [start_worker(name, **one_at_a_time) for name in ("first", "second")]
    gate.await_requests(2)  # each worker takes one at a time: both are at work now
    running = [kit.handle(job_id).status() for job_id in ids]
    gate.open()
    for job_id in ids:
        kit.handle(job_id, ProcessInvoice).result(PATIENCE)
    assert len({job.worker for job in running}) == 2
    assert [worker.stop() for worker in workers] == [0, 0]


def test_the_tenant_travels_on_every_job(
    kit: JobKit, api: Api, pdfs: list[Specimen], start_worker: StartWorker
) -> None:
    """TT-8: the tenant is a tag of each job, and a field of every log line about it."""
    handles = [api.process_invoice(each.invoice_id, each.tenant_id) for each in pdfs[:4]]
    worker = start_worker(JOBKIT_LOG_FORMAT="json")
    for handle in handles:
        handle.result(PATIENCE)
    worker.stop()
    tags = {handle.id: handle.status().tags for handle in handles}
    assert [tags[handle.id] for handle in handles] == [{"tenant": each.tenant_id} for each in pdfs[:4]]
    log = worker.log.read_text()
    assert "signature=" not in log  # a URL that opens a document is no matter for a log
    lines = [json.loads(line) for line in log.splitlines()]
    told = [line for line in lines if line.get("job_id") in tags]
    assert {line["job_id"] for line in told} == set(tags)
    assert all(line["tags"] == tags[line["job_id"]] for line in told)
    assert {line["event"] for line in told} >= {"invoice.processed"}


def test_redis_is_the_only_channel(
    store_url: str, kit: JobKit, world: World, pdfs: list[Specimen], start_worker: StartWorker
) -> None:
    """TT-31: a job of an API process that has ended reaches a worker that starts later, and its result a third one."""
    (job_id,), _ = run_api(store_url, pdfs[:1])
    start_worker()
    result = kit.handle(job_id, ProcessInvoice).result(PATIENCE)
    assert result.number == pdfs[0].number
    assert world.invoices.get(pdfs[0].invoice_id).status is InvoiceStatus.PROCESSED


def test_a_backlog_drains_when_the_worker_returns(
    kit: JobKit, api: Api, pdfs: list[Specimen], start_worker: StartWorker, service: ExtractionService
) -> None:
    """TT-33: a stopped worker leaves a backlog that waits whole, and drains when a worker is there again."""
    worker = start_worker("before")
    first, *rest = pdfs[:4]
    api.process_invoice(first.invoice_id, first.tenant_id).result(PATIENCE)
    assert worker.stop() == 0
    backlog = [api.process_invoice(each.invoice_id, each.tenant_id) for each in rest]
    assert {handle.status().state for handle in backlog} == {JobState.QUEUED}
    start_worker("after")
    assert [handle.result(PATIENCE).number for handle in backlog] == [each.number for each in rest]
    assert len(service.requests) == len(rest) + 1
