"""What workers do. A job may run twice after a crash, so each processor can be repeated."""

from jobkit import Job, JobResult, Unrecoverable, processor
from jobkit.errors import JobTimeout

from .invoices import InvoiceUnknown
from .payloads import InvoiceFields, ProcessInvoice
from .ports import DocumentUnreadable, TryLater, View


@processor(ProcessInvoice)
def process_invoice(job: Job[ProcessInvoice], view: View) -> JobResult[InvoiceFields]:
    """Download, read, extract, keep: the invoice ends processed, or in error when a step fails for good."""
    try:
        return _process(job, view)
    except (Exception, JobTimeout) as error:
        if job.attempt >= job.attempts or isinstance(error, Unrecoverable):
            why = str(error) or type(error).__name__
            view.domain.invoices.mark_error(job.payload.invoice_id, why, claim=_claim(job))
        raise


def _process(job: Job[ProcessInvoice], view: View) -> JobResult[InvoiceFields]:
    claim = _claim(job)
    try:
        invoice = view.domain.invoices.begin(job.payload.invoice_id, job.payload.tenant_id, claim=claim)
        job.progress(5, "downloading")
        document = view.infrastructure.files.download(view.infrastructure.files.presign(invoice.file_key))
        job.progress(20, "reading")
        text = job.step("read", view.infrastructure.reader.read, document, invoice.media_type)
        job.progress(60, "extracting")
        fields = job.step("extract", view.infrastructure.extractor.extract, text)
    except TryLater as error:
        return JobResult.snoozed(error.seconds, str(error))
    except (DocumentUnreadable, InvoiceUnknown) as error:
        raise Unrecoverable(str(error)) from error
    job.progress(90, "saving")
    view.domain.invoices.mark_processed(job.payload.invoice_id, fields, claim=claim)
    job.progress(100, "processed")
    view.cross_cutting.log.info("invoice.processed", invoice_id=job.payload.invoice_id, number=fields.number)
    return JobResult.completed(fields)


def _claim(job: Job[ProcessInvoice]) -> str:
    """Name this attempt: the epoch grows with each claim of the job, also after a crash."""
    return f"{job.id}/{job.epoch}"
