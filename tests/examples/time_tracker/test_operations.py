"""What an operator of the app does from the command line."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from time_tracker.api import Api
from time_tracker.invoices import InvoiceStatus
from time_tracker.outside import ExtractionService
from time_tracker.payloads import Queues, SyncMail
from time_tracker.specimens import Specimen
from time_tracker.world import World

from jobkit import JobFailed, JobKit
from jobkit.cli import main

APP = ("--app", "time_tracker.jobs:create_kit")
Cli = Callable[..., str]


@pytest.fixture
def cli(store_url: str) -> Cli:
    """Give a function that runs `jobkit ...` against the app and returns what it prints."""

    def run(*words: str) -> str:
        ran = CliRunner().invoke(main, [*words, *APP], env={"JOBKIT_REDIS_URL": store_url})
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    return run


def lines(output: str) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def failed(kit: JobKit, api: Api, pdfs: list[Specimen], service: ExtractionService) -> str:
    """Give the id of a job whose three attempts have failed; the service is well again afterwards."""
    service.faults.replace([500] * 3)
    with kit.running(workers=True):
        handle = api.process_invoice(pdfs[0].invoice_id, pdfs[0].tenant_id)
        with pytest.raises(JobFailed):
            handle.result(30)
    return handle.id


def test_failed_jobs_stay_listed(cli: Cli, failed: str) -> None:
    """TT-19: a job that failed for good stays listed, with its tenant and its error, until retention removes it."""
    (job,) = lines(cli("jobs", "ls", "--state", "failed", "--json"))
    assert (job["id"], job["name"], job["state"]) == (failed, "invoice.process", "failed")
    assert job["tags"] == {"tenant": "t_acme"}
    assert "the extraction service answered 500" in job["error"]


def test_a_failed_job_can_be_inspected(cli: Cli, failed: str) -> None:
    """TT-20: a failed job shows its payload, its progress and the error of each attempt."""
    job = json.loads(cli("jobs", "show", failed, "--json"))
    assert job["payload"] == {"tenant_id": "t_acme", "invoice_id": "inv_001"}
    assert job["status"]["progress"] == {"percent": 60.0, "message": "extracting"}
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["retried", "retried", "failed"]
    assert all("answered 500" in attempt["error"] for attempt in job["attempts"])
    assert failed in cli("jobs", "show", failed)


def test_a_failed_job_can_be_retried(cli: Cli, failed: str, kit: JobKit, world: World) -> None:
    """TT-21: a failed job that is retried once its cause is mended ends processed, under the same id."""
    assert world.invoices.get("inv_001").status is InvoiceStatus.ERROR
    assert "queued" in cli("jobs", "retry", failed)
    with kit.running(workers=True):
        kit.handle(failed).result(30)
    assert world.invoices.get("inv_001").status is InvoiceStatus.PROCESSED
    assert lines(cli("jobs", "ls", "--state", "failed", "--json")) == []


def test_jobs_are_listed_by_tenant(cli: Cli, api: Api, pdfs: list[Specimen]) -> None:
    """TT-8: the jobs of one tenant can be listed, whatever queue and state they are in."""
    for each in pdfs:
        api.process_invoice(each.invoice_id, each.tenant_id)
    mail = api.enqueue(SyncMail(tenant_id="t_acme"))
    of_acme = {f"invoice-{each.invoice_id}" for each in pdfs if each.tenant_id == "t_acme"}
    listed = lines(cli("jobs", "ls", "--tag", "tenant=t_acme", "--json"))
    assert {job["id"] for job in listed} == {mail.id, *of_acme}
    assert len(lines(cli("jobs", "ls", "--tag", "tenant=t_acme", "--limit", "2", "--json"))) == 2
    assert lines(cli("jobs", "ls", "--tag", "tenant=t_nobody", "--json")) == []


def test_operating_needs_no_dashboard(cli: Cli, failed: str, store_url: str) -> None:
    """TT-22: queues, jobs, retry and cancel are commands; no dashboard runs, and none is loaded."""
    counts = {queue["name"]: queue for queue in lines(cli("queues", "ls", "--json"))}
    assert set(counts) == {queue.value for queue in Queues}
    assert counts[Queues.INVOICE_PROCESSING]["failed"] == 1
    cli("jobs", "retry", failed)
    cli("jobs", "cancel", failed)
    assert [job["id"] for job in lines(cli("jobs", "ls", "--state", "canceled", "--json"))] == [failed]

    words = ["queues", "ls", *APP]
    code = f"import sys; from jobkit.cli import main; main({words!r}, standalone_mode=False); print(*sys.modules)"
    path = {"PYTHONPATH": ":".join(filter(None, sys.path)), "JOBKIT_REDIS_URL": store_url}
    ran = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert not set(ran.stdout.split()) & {"rq_dashboard", "flask", "fastapi", "starlette"}
