"""What the processors need from the world, as Protocols: they import this and never the database or an HTTP client."""

from typing import Protocol, TypeAlias

from jobkit import ContainerView

from .invoices import Invoice
from .payloads import InvoiceFields


class DocumentUnreadable(Exception):
    """The document will not become readable by trying again."""


class ServiceUnavailable(Exception):
    """An outside service did not do its work this time; it may the next time."""


class TryLater(Exception):
    """An outside service asks us to wait this many seconds."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Invoices(Protocol):
    """The invoices' repository.

    A claim names one attempt at one invoice. The attempt that began last owns the record: what an earlier one still
    writes (a process that was thought dead, say) has no effect.
    """

    def begin(self, invoice_id: str, tenant_id: str, *, claim: str) -> Invoice:
        """Take the invoice for this claim and mark it as being processed; InvoiceUnknown when the tenant has none."""
        ...

    def mark_processed(self, invoice_id: str, fields: InvoiceFields, *, claim: str) -> None:
        """Keep what the invoice says, and end it processed."""
        ...

    def mark_error(self, invoice_id: str, error: str, *, claim: str) -> None:
        """End the invoice in error, with the reason."""
        ...


class Files(Protocol):
    """The file store."""

    def presign(self, key: str) -> str:
        """Return a URL that reads the file for a few minutes."""
        ...

    def download(self, url: str) -> bytes:
        """Return the file; DocumentUnreadable when there is none, ServiceUnavailable when the store has trouble."""
        ...


class Reader(Protocol):
    """Reads documents."""

    def read(self, document: bytes, media_type: str) -> str:
        """Return the document's text; DocumentUnreadable when this reader cannot read it."""
        ...


class Extractor(Protocol):
    """Finds what an invoice's text says."""

    def extract(self, text: str) -> InvoiceFields:
        """Return the fields; DocumentUnreadable, ServiceUnavailable or TryLater when there are none to be had."""
        ...


class Log(Protocol):
    """A structured log whose lines already carry the job's id, name, queue, attempt and tags."""

    def info(self, event: str, **fields: object) -> object:
        """Write a line."""
        ...


class Domain(Protocol):
    """The slice of repositories."""

    @property
    def invoices(self) -> Invoices:
        """The invoices."""
        ...


class Infrastructure(Protocol):
    """The slice of adapters."""

    @property
    def files(self) -> Files:
        """The file store."""
        ...

    @property
    def reader(self) -> Reader:
        """The reader of documents."""
        ...

    @property
    def extractor(self) -> Extractor:
        """The extraction service."""
        ...


class CrossCutting(Protocol):
    """The slice of what every part uses."""

    @property
    def log(self) -> Log:
        """The log."""
        ...


View: TypeAlias = ContainerView[Domain, Infrastructure, CrossCutting]
