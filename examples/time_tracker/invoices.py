"""The domain's invoice: what is known about a document that a tenant has handed in."""

from __future__ import annotations

from enum import StrEnum

import attrs

from .payloads import InvoiceFields


class InvoiceStatus(StrEnum):
    """Where an invoice stands. It ends processed or in error; a retried job may bring it back from error."""

    RECEIVED = "received"
    PROCESSING = "processing"
    PROCESSED = "processed"
    ERROR = "error"


class InvoiceUnknown(LookupError):
    """No invoice of this tenant has this id."""


@attrs.frozen(kw_only=True)
class Invoice:
    """A tenant's invoice and the document it came as; `error` says why it could not be read."""

    invoice_id: str
    tenant_id: str
    file_key: str
    media_type: str
    status: InvoiceStatus = InvoiceStatus.RECEIVED
    fields: InvoiceFields | None = None
    error: str | None = None
