"""The adapters against real parts: Tesseract, PDFium, SQLite and the loopback servers."""

import datetime as dt
import io
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from PIL import Image
from time_tracker.infrastructure.database import Database, SqlInvoices
from time_tracker.infrastructure.documents import DocumentReader
from time_tracker.infrastructure.extractor import HttpExtractor
from time_tracker.infrastructure.files import HttpFiles
from time_tracker.invoices import Invoice, InvoiceStatus, InvoiceUnknown
from time_tracker.outside import ExtractionService, Faults, FileStore
from time_tracker.payloads import InvoiceFields
from time_tracker.ports import DocumentUnreadable, ServiceUnavailable, TryLater
from time_tracker.signed_urls import presign
from time_tracker.specimens import batch

TEXT = "Invoice No. INV-1234\nDate: 2026-03-14\nTotal due: EUR 1,250.00"
FIELDS = InvoiceFields(amount=Decimal("1250.00"), date=dt.date(2026, 3, 14), number="INV-1234")
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    """Give a file store with one file, for which it is always second 1000."""
    with FileStore(tmp_path / "files", secret=b"key", now=lambda: 1000.0) as store:
        store.put("t/a.pdf", b"content")
        yield store


@pytest.fixture
def invoices(tmp_path: Path) -> SqlInvoices:
    """Give a repository with the invoice inv_1 of tenant t."""
    database = Database(f"sqlite:///{tmp_path / 'db.sqlite3'}")
    database.create()
    repository = SqlInvoices(database)
    repository.add([Invoice(invoice_id="inv_1", tenant_id="t", file_key="t/a.pdf", media_type="application/pdf")])
    return repository


def files_at(url: str, *, now: float = 1000.0, secret: str = "key") -> HttpFiles:  # noqa: S107 - a test's key
    """Make the app's side of the file store, for which it is second `now`."""
    return HttpFiles(url, secret=secret, good_for=60, now=lambda: now)


# -- documents


def test_every_specimen_reads_as_printed() -> None:
    """What Tesseract reads of a scan, and PDFium of a PDF, holds every fact that is printed."""
    if shutil.which("tesseract") is None:
        pytest.skip("Tesseract is not installed (apt-get install tesseract-ocr); .ci/run installs it")
    reader = DocumentReader()
    for specimen in batch(4, smudged=False):
        text = reader.read(specimen.render(), specimen.media_type)
        assert specimen.number in text, specimen.media_type


def test_a_pdf_is_read_through_its_text_layer() -> None:
    """Brackets, backslashes and accents survive the PDF and its reader."""
    from time_tracker.specimens.pdf import write_pdf

    text = DocumentReader().read(write_pdf(["Caf\xe9 (Paris) \\ Z\xfcrich", "second line"]), "application/pdf")
    assert text.split("\n") == ["Caf\xe9 (Paris) \\ Z\xfcrich", "second line"]


@pytest.mark.parametrize(
    ("document", "media_type", "why"),
    [
        (b"no picture", "image/png", "the scan is no image"),
        (b"no pdf", "application/pdf", "no PDF that can be opened"),
        (b"PK", "application/zip", "expected a PDF or a PNG"),
    ],
)
def test_a_document_that_is_none_is_unreadable(document: bytes, media_type: str, why: str) -> None:
    """A file that is not what it says is unreadable for good, with the reason."""
    with pytest.raises(DocumentUnreadable, match=why):
        DocumentReader().read(document, media_type)


def test_a_pdf_without_text_is_unreadable() -> None:
    """A PDF that only holds a picture says what to send instead."""
    picture = io.BytesIO()
    Image.new("L", (50, 50), 255).save(picture, format="PDF")
    with pytest.raises(DocumentUnreadable, match="no text layer"):
        DocumentReader().read(picture.getvalue(), "application/pdf")


def test_without_tesseract_a_scan_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine without Tesseract a scan is unreadable, and the error names the packages."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DocumentUnreadable, match=r"apt-get install tesseract-ocr.*brew install tesseract"):
        DocumentReader().read(batch(1)[0].render(), "image/png")


def test_a_tesseract_that_was_killed_may_work_the_next_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where a signal ended Tesseract, the document is not to blame."""
    stand_in = tmp_path / "tesseract"
    stand_in.write_text("#!/bin/sh\nkill -INT $$\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ServiceUnavailable, match="signal 2"):
        DocumentReader().read(batch(1)[0].render(), "image/png")


# -- the file store


def test_a_file_is_downloaded_by_a_presigned_url(store: FileStore) -> None:
    """A URL that the adapter signs opens the file at the store."""
    files = files_at(store.url)
    assert files.download(files.presign("t/a.pdf")) == b"content"


@pytest.mark.parametrize(("now", "secret"), [(900.0, "key"), (1000.0, "another key")])
def test_a_url_that_the_store_refuses_may_work_the_next_time(store: FileStore, now: float, secret: str) -> None:
    """An expired or wrongly signed URL is refused by the store; a new attempt signs a new one."""
    files = files_at(store.url, now=now, secret=secret)
    with pytest.raises(ServiceUnavailable, match="403"):
        files.download(files.presign("t/a.pdf"))


def test_a_file_without_a_signature_is_refused(store: FileStore) -> None:
    """The store gives nothing away to whoever only knows the path."""
    assert httpx.get(f"{store.url}/t/a.pdf", trust_env=False).status_code == 403


def test_a_missing_file_is_unreadable_for_good(store: FileStore) -> None:
    """A file that is not there will not be there on the next attempt."""
    files = files_at(store.url)
    with pytest.raises(DocumentUnreadable, match="no such file"):
        files.download(files.presign("t/gone.pdf"))


def test_a_key_cannot_leave_the_store(store: FileStore, tmp_path: Path) -> None:
    """A signed key that climbs out of the store's folder is refused."""
    (tmp_path / "outside.txt").write_text("secret")
    target = presign("", "../outside.txt", secret=b"key", expires=2000)
    connection = HTTPConnection(store.url.removeprefix("http://"))
    connection.request("GET", target)  # as it is: httpx would take the dots out
    answer = connection.getresponse()
    assert (answer.status, b"leaves the store" in answer.read()) == (403, True)
    connection.close()


def test_a_store_that_is_away_may_come_back() -> None:
    """A refused connection is trouble of the moment."""
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        files_at(NOWHERE).download(f"{NOWHERE}/a")


# -- the extraction service


def test_the_service_extracts_amount_date_and_number() -> None:
    """Text goes in and the invoice's fields come out, over HTTP."""
    with ExtractionService() as service:
        assert HttpExtractor(service.url).extract(TEXT) == FIELDS


def test_a_service_error_may_be_gone_the_next_time() -> None:
    """A 500 is trouble of the moment; the next request is answered."""
    with ExtractionService(faults=Faults([500])) as service:
        extractor = HttpExtractor(service.url)
        with pytest.raises(ServiceUnavailable, match="500"):
            extractor.extract(TEXT)
        assert extractor.extract(TEXT) == FIELDS


def test_a_429_says_how_long_to_wait() -> None:
    """Too many requests become a wait of the length the service asks for."""
    with ExtractionService(faults=Faults([429]), retry_after=2.5) as service, pytest.raises(TryLater) as error:
        HttpExtractor(service.url).extract(TEXT)
    assert error.value.seconds == 2.5


def test_a_text_that_is_no_invoice_is_unreadable_for_good() -> None:
    """What the service cannot find now it will not find later."""
    with ExtractionService() as service, pytest.raises(DocumentUnreadable, match="no invoice number"):
        HttpExtractor(service.url).extract("Dear Sir or Madam")


def test_faults_may_come_round_for_ever() -> None:
    """A service may fail each second request, until it is mended."""
    faults = Faults(every={2: 500})
    assert [faults.next() for _ in range(4)] == [200, 500, 200, 500]
    faults.mend()
    assert [faults.next() for _ in range(2)] == [200, 200]


def test_the_service_refuses_what_it_does_not_know() -> None:
    """Another path or another body is answered with what was expected."""
    with ExtractionService() as service, httpx.Client(trust_env=False) as web:
        assert web.post(f"{service.url}/v1/chat", json={}).status_code == 404
        assert "expected a body" in web.post(f"{service.url}/v1/extract", content=b"[]").json()["error"]


def test_a_service_takes_it_quietly_when_its_client_goes_away(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A client that is gone before its answer, as a killed worker is, leaves no traceback and a service that works."""
    asked, left = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        asked.set()
        left.wait(10)

    with ExtractionService(before_answer=hold) as service:
        connection = socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave with a reset
        body = b'{"text": "x"}'
        connection.sendall(b"POST /v1/extract HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert asked.wait(10)
        connection.close()
        left.set()
        assert HttpExtractor(service.url).extract(TEXT) == FIELDS
    assert capfd.readouterr().err == ""


# -- the database


def test_a_processed_invoice_keeps_its_fields(invoices: SqlInvoices) -> None:
    """Amount, date and number come back from the database as they went in."""
    invoices.begin("inv_1", "t", claim="a/1")
    invoices.mark_processed("inv_1", FIELDS, claim="a/1")
    kept = invoices.get("inv_1")
    assert (kept.status, kept.fields) == (InvoiceStatus.PROCESSED, FIELDS)


def test_an_invoice_in_error_keeps_the_reason_until_it_is_tried_again(invoices: SqlInvoices) -> None:
    """The reason goes when a new attempt begins."""
    invoices.begin("inv_1", "t", claim="a/1")
    invoices.mark_error("inv_1", "unreadable", claim="a/1")
    assert (invoices.get("inv_1").status, invoices.get("inv_1").error) == (InvoiceStatus.ERROR, "unreadable")
    assert invoices.begin("inv_1", "t", claim="a/2").error is None


def test_a_stale_attempt_cannot_overwrite_a_newer_one(invoices: SqlInvoices) -> None:
    """Once a newer attempt has begun, what the earlier one writes has no effect."""
    invoices.begin("inv_1", "t", claim="a/1")
    invoices.begin("inv_1", "t", claim="a/2")
    invoices.mark_error("inv_1", "too slow", claim="a/1")
    assert invoices.get("inv_1").status is InvoiceStatus.PROCESSING


def test_a_tenant_cannot_reach_anothers_invoice(invoices: SqlInvoices) -> None:
    """The tenant of the job has to be the tenant of the invoice."""
    with pytest.raises(InvoiceUnknown, match="tenant 'other' has no invoice 'inv_1'"):
        invoices.begin("inv_1", "other", claim="a/1")


def test_an_unknown_invoice_is_named(invoices: SqlInvoices) -> None:
    """Asking for an invoice that does not exist names it."""
    with pytest.raises(InvoiceUnknown, match="inv_9"):
        invoices.get("inv_9")
