"""The API's side: it puts jobs on Redis and answers at once. No worker code, database driver or OCR is loaded here."""

from __future__ import annotations

from typing import TypeVar

from jobkit import JobHandle, JobKit, JobStatus

from .payloads import InvoiceFields, ProcessInvoice, TenantPayload

R = TypeVar("R")


class Api:
    """What a web framework's routes would call; `kit` needs no processors and no container to enqueue."""

    def __init__(self, kit: JobKit) -> None:
        self._kit = kit

    def process_invoice(self, invoice_id: str, tenant_id: str) -> JobHandle[InvoiceFields]:
        """`POST /invoices/{id}/process`: 202 with the job's id. Pressing the button twice makes one job."""
        payload = ProcessInvoice(tenant_id=tenant_id, invoice_id=invoice_id)
        return self._kit.enqueue(payload, job_id=f"invoice-{invoice_id}", tags=payload.tags())

    def enqueue(self, payload: TenantPayload[R]) -> JobHandle[R]:
        """Enqueue any of the app's jobs, tagged with its tenant."""
        return self._kit.enqueue(payload, tags=payload.tags())

    def status(self, job_id: str) -> JobStatus:
        """`GET /jobs/{id}`: where the job stands."""
        return self._kit.handle(job_id, ProcessInvoice).status()
