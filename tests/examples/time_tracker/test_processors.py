"""The invoice processor by itself: plain objects behind its ports, no Redis and no network."""

import datetime as dt
from decimal import Decimal

import attrs
import pytest
from time_tracker.invoices import Invoice, InvoiceUnknown
from time_tracker.payloads import InvoiceFields, ProcessInvoice
from time_tracker.ports import DocumentUnreadable, ServiceUnavailable, TryLater, View
from time_tracker.processors import process_invoice

from jobkit import ContainerView, Job, JobResult, Unrecoverable
from jobkit.errors import JobTimeout
from jobkit.ports import MemoryPort

FIELDS = InvoiceFields(amount=Decimal("12.50"), date=dt.date(2026, 3, 14), number="INV-7")


@attrs.define
class Desk:
    """Every port in one object, which writes down what is asked of it; `trouble` is raised by the step of its name."""

    trouble: dict[str, BaseException] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)
    error: str | None = None
    claim: str | None = None

    def begin(self, invoice_id: str, tenant_id: str, *, claim: str) -> Invoice:
        self._do("begin")
        self.claim = claim
        return Invoice(invoice_id=invoice_id, tenant_id=tenant_id, file_key="a.png", media_type="image/png")

    def mark_processed(self, invoice_id: str, fields: InvoiceFields, *, claim: str) -> None:
        self._do("save")

    def mark_error(self, invoice_id: str, error: str, *, claim: str) -> None:
        self.error = error

    def presign(self, key: str) -> str:
        return f"http://files/{key}"

    def download(self, url: str) -> bytes:
        self._do("download")
        return b"a scan"

    def read(self, document: bytes, media_type: str) -> str:
        self._do("read")
        return "text"

    def extract(self, text: str) -> InvoiceFields:
        self._do("extract")
        return FIELDS

    def info(self, event: str, **fields: object) -> None:
        self._do("log")

    def _do(self, step: str) -> None:
        self.calls.append(step)
        if step in self.trouble:
            raise self.trouble[step]


@attrs.frozen
class Slices:
    """The three slices at once: whatever is asked for, the desk does it."""

    invoices: Desk
    files: Desk
    reader: Desk
    extractor: Desk
    log: Desk

    @staticmethod
    def view(desk: Desk) -> View:
        slices = Slices(desk, desk, desk, desk, desk)
        return ContainerView(domain=slices, infrastructure=slices, cross_cutting=slices)


def run(desk: Desk, *, attempt: int = 1, port: MemoryPort | None = None) -> JobResult[InvoiceFields]:
    """Run one attempt of three."""
    payload = ProcessInvoice(tenant_id="t_acme", invoice_id="inv_7")
    job = Job(payload=payload, id="job7", attempt=attempt, attempts=3, epoch=attempt, port=port or MemoryPort())
    result: JobResult[InvoiceFields] = process_invoice.fn(job, Slices.view(desk))
    return result


def test_the_steps_run_in_order() -> None:
    """An invoice is downloaded, read, extracted and saved, and its fields are the job's result."""
    desk = Desk()
    assert run(desk).value == FIELDS
    assert desk.calls == ["begin", "download", "read", "extract", "save", "log"]


def test_a_later_attempt_does_not_read_the_scan_again() -> None:
    """What a step gave is kept: after a failed extraction the scan is not read twice."""
    port, desk = MemoryPort(), Desk(trouble={"extract": ServiceUnavailable("busy")})
    with pytest.raises(ServiceUnavailable):
        run(desk, port=port)
    again = Desk()
    assert run(again, attempt=2, port=port).value == FIELDS
    assert "read" not in again.calls


@pytest.mark.parametrize("step", ["download", "read", "extract", "save"])
def test_an_invoice_stays_open_while_there_are_attempts(step: str) -> None:
    """A step that fails with attempts left does not end the invoice."""
    desk = Desk(trouble={step: ServiceUnavailable("busy")})
    with pytest.raises(ServiceUnavailable):
        run(desk)
    assert desk.error is None


@pytest.mark.parametrize("step", ["begin", "download", "read", "extract", "save", "log"])
def test_an_invoice_ends_in_error_when_any_step_fails_for_good(step: str) -> None:
    """TT-10: an invoice ends in error, with the reason, whichever of its steps fails on the last attempt."""
    desk = Desk(trouble={step: ServiceUnavailable("the service is gone")})
    with pytest.raises(ServiceUnavailable):
        run(desk, attempt=3)
    assert desk.error == "the service is gone"


@pytest.mark.parametrize("fault", [DocumentUnreadable("no text in it"), InvoiceUnknown("no such invoice")])
def test_what_cannot_be_mended_ends_in_error_at_once(fault: Exception) -> None:
    """A document that nobody can read ends in error on the first attempt, and the retries are skipped."""
    desk = Desk(trouble={"read": fault})
    with pytest.raises(Unrecoverable, match=str(fault)):
        run(desk)
    assert desk.error == str(fault)


def test_a_timeout_on_the_last_attempt_ends_in_error() -> None:
    """An attempt that takes too long counts as a failure of its step."""
    desk = Desk(trouble={"read": JobTimeout()})
    with pytest.raises(JobTimeout):
        run(desk, attempt=3)
    assert desk.error == "JobTimeout"


def test_a_service_that_asks_us_to_wait_costs_no_attempt() -> None:
    """A 429 snoozes the job for as long as the service says, even on the last attempt."""
    desk = Desk(trouble={"extract": TryLater("too many requests", 7.5)})
    result = run(desk, attempt=3)
    assert (result.outcome, result.seconds, result.reason) == ("snoozed", 7.5, "too many requests")
    assert desk.error is None


def test_each_claim_of_a_job_has_a_name_of_its_own() -> None:
    """The record is written under job and epoch, so that a stale attempt cannot overwrite a newer one."""
    desk = Desk()
    run(desk, attempt=2)
    assert desk.claim == "job7/2"
