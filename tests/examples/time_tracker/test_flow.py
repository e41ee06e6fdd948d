"""The invoice flow on a real server, with a worker inside this process and every outside service on loopback."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from time_tracker.api import Api
from time_tracker.container import AppContainer
from time_tracker.invoices import InvoiceStatus
from time_tracker.jobs import create_kit
from time_tracker.outside import ExtractionService
from time_tracker.payloads import InvoiceFields, SyncMail
from time_tracker.specimens import Specimen, batch
from time_tracker.world import World

from jobkit import Exponential, JobFailed, JobHandle, JobKit, JobState, ResultTimeout, Retry, Settings

PATIENCE = 30
"""Seconds a test waits for a result before it fails."""


def printed(specimen: Specimen) -> InvoiceFields:
    """Give what a reader should find on the invoice."""
    return InvoiceFields(amount=specimen.amount, date=specimen.dated, number=specimen.number)


def enqueue(api: Api, specimens: Sequence[Specimen]) -> list[JobHandle[InvoiceFields]]:
    """Enqueue a job for each invoice."""
    return [api.process_invoice(each.invoice_id, each.tenant_id) for each in specimens]


def settings_for(url: str, **more: Any) -> Settings:
    """Give settings for a kit on this server that starts workers when it is asked to."""
    return Settings(redis_url=url, environment="local", **more)


@pytest.mark.usefixtures("tesseract")
def test_scans_become_records(world: World, kit: JobKit, api: Api, service: ExtractionService) -> None:
    """TT-9: an invoice is downloaded by presigned URL, read by OCR, its amount, date and number extracted and kept."""
    scans = batch(3, smudged=False)
    world.hand_in(scans)
    with kit.running(workers=True):
        results = [handle.result(PATIENCE) for handle in enqueue(api, scans)]
    assert results == [printed(scan) for scan in scans]
    for scan in scans:
        kept = world.invoices.get(scan.invoice_id)
        assert (kept.status, kept.fields) == (InvoiceStatus.PROCESSED, printed(scan))
        assert any(scan.number in text for text in service.requests)


def test_a_good_invoice_is_processed_and_a_bad_one_is_not(
    world: World, kit: JobKit, api: Api, pdfs: list[Specimen]
) -> None:
    """TT-10: invoices end processed; the one whose total is missing ends in error, with the reason on its record."""
    with kit.running(workers=True):
        *good, bad = enqueue(api, pdfs)
        for handle in good:
            handle.result(PATIENCE)
        with pytest.raises(JobFailed, match="no total found"):
            bad.result(PATIENCE)
        assert bad.status().attempt == 1
    statuses = [world.invoices.get(each.invoice_id).status for each in pdfs]
    assert statuses == [InvoiceStatus.PROCESSED] * len(good) + [InvoiceStatus.ERROR]
    assert "no total found" in (world.invoices.get(pdfs[-1].invoice_id).error or "")


def test_an_invoice_ends_in_error_when_the_attempts_are_used_up(
    world: World, kit: JobKit, api: Api, pdfs: list[Specimen], service: ExtractionService
) -> None:
    """TT-10: an invoice whose extraction fails on every attempt ends in error after the last one."""
    service.faults.replace([500] * 3)
    with kit.running(workers=True):
        handle = api.process_invoice(pdfs[0].invoice_id, pdfs[0].tenant_id)
        with pytest.raises(JobFailed, match="answered 500"):
            handle.result(PATIENCE)
        assert handle.status().attempt == 3
    kept = world.invoices.get(pdfs[0].invoice_id)
    assert (kept.status, kept.fields) == (InvoiceStatus.ERROR, None)
    assert "answered 500" in (kept.error or "")


def test_a_rate_limited_service_costs_no_attempt(
    kit: JobKit, api: Api, pdfs: list[Specimen], service: ExtractionService
) -> None:
    """A 429 from the service makes the job wait as long as the service says, without using an attempt."""
    service.faults.replace([429] * 4)
    with kit.running(workers=True):
        handle = api.process_invoice(pdfs[0].invoice_id, pdfs[0].tenant_id)
        assert handle.result(PATIENCE) == printed(pdfs[0])
        assert handle.status().attempt == 1


def test_retries_wait_longer_each_time(
    store_url: str, pdfs: list[Specimen], world: World, service: ExtractionService
) -> None:
    """TT-18: a failing job is tried again after waits that grow exponentially."""
    service.faults.replace([500, 500])
    retry = Retry(attempts=3, backoff=Exponential(0.1, factor=4))
    kit = create_kit(settings_for(store_url), retry=retry)
    with kit.running():
        handle = Api(kit).process_invoice(pdfs[0].invoice_id, pdfs[0].tenant_id)
        handle.result(PATIENCE)
        attempts = kit.jobs.get(handle.id).attempts
    assert [each.outcome for each in attempts] == ["retried", "retried", "finished"]
    moments = [(each.started_at, each.ended_at) for each in attempts]
    waits = [
        (begin - end).total_seconds()
        for (_, end), (begin, _) in pairwise(moments)
        if begin is not None and end is not None
    ]
    # The waits run by the server's clock, in milliseconds.
    assert [wait >= least - 0.01 for wait, least in zip(waits, (0.1, 0.4), strict=True)] == [True, True]


def test_enqueueing_returns_while_every_worker_is_busy(
    kit: JobKit, api: Api, world: World, gate: Any, service: ExtractionService
) -> None:
    """TT-25: the API has its job's id at once, however long the jobs before it take."""
    specimens = batch(24, scans=False, smudged=False)
    world.hand_in(specimens)
    with kit.running(workers=True):
        handles = enqueue(api, specimens[:4])
        gate.await_requests(4)  # the four slots are taken, and nothing moves until the gate opens
        handles += enqueue(api, specimens[4:])
        states = [handle.status().state for handle in handles]
        gate.open()
        results = [handle.result(PATIENCE) for handle in handles]
    assert states == [JobState.STARTED] * 4 + [JobState.QUEUED] * 20
    assert results == [printed(each) for each in specimens]


@pytest.mark.parametrize("service", [ExtractionService(think=3.2)], ids=["3.2 s"])
def test_jobs_of_several_seconds_are_normal(
    store_url: str, pdfs: list[Specimen], service: ExtractionService, world: World
) -> None:
    """TT-26: a job that runs for more than three leases is done once, on its first attempt, beside its neighbours."""
    kit = create_kit(settings_for(store_url, lease=1.0))
    with kit.running():
        handles = enqueue(Api(kit), pdfs[:2])
        assert [handle.result(PATIENCE) for handle in handles] == [printed(each) for each in pdfs[:2]]
        records = [kit.jobs.get(handle.id) for handle in handles]
    assert [len(record.attempts) for record in records] == [1, 1]
    assert all((record.attempts[0].seconds or 0) >= 3.2 for record in records)
    assert len(service.requests) == 2


def test_without_a_worker_jobs_wait(kit: JobKit, api: Api, pdfs: list[Specimen]) -> None:
    """TT-30: with no worker running, enqueueing works, jobs wait, and a worker that comes later does them."""
    handles = enqueue(api, pdfs[:4])
    api.enqueue(SyncMail(tenant_id="t_acme"))
    assert {handle.status().state for handle in handles} == {JobState.QUEUED}
    with pytest.raises(ResultTimeout, match="it is queued"):
        handles[0].result(timeout=0.01)
    with kit.running("invoice-processing", workers=True):
        assert [handle.result(PATIENCE) for handle in handles] == [printed(each) for each in pdfs[:4]]


def test_one_button_press_is_one_job(kit: JobKit, api: Api, pdfs: list[Specimen], service: ExtractionService) -> None:
    """Asking for the same invoice twice gives the same job, which runs once."""
    first, again = (api.process_invoice(pdfs[0].invoice_id, pdfs[0].tenant_id) for _ in range(2))
    assert first.id == again.id
    with kit.running(workers=True):
        assert first.result(PATIENCE) == again.result(PATIENCE)
    assert len(service.requests) == 1


def test_results_reach_the_database_through_the_infrastructure(
    kit: JobKit, api: Api, world: World, pdfs: list[Specimen]
) -> None:
    """TT-34: the repository that a processor sees writes through the container's own database."""
    container = AppContainer()
    assert container.domain.invoices()._engine is container.infrastructure.database().engine
    with kit.running(workers=True):
        api.process_invoice(pdfs[0].invoice_id, pdfs[0].tenant_id).result(PATIENCE)
    assert world.invoices.get(pdfs[0].invoice_id).fields == printed(pdfs[0])


def test_anothers_invoice_cannot_be_processed(kit: JobKit, api: Api, world: World, pdfs: list[Specimen]) -> None:
    """A job that names an invoice of another tenant fails at once and leaves the invoice as it was."""
    with kit.running(workers=True), pytest.raises(JobFailed, match="tenant 't_other' has no invoice"):
        api.process_invoice(pdfs[0].invoice_id, "t_other").result(PATIENCE)
    assert world.invoices.get(pdfs[0].invoice_id).status is InvoiceStatus.RECEIVED
