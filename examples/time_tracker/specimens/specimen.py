"""One invoice to try the app on: what it says, and the file that says it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Literal

import attrs

from .pdf import write_pdf
from .scan import draw_scan

MediaType = Literal["image/png", "application/pdf"]


@attrs.frozen(kw_only=True)
class Specimen:
    """An invoice and the facts a reader should find in it; `lines` is what is printed, top to bottom."""

    invoice_id: str
    tenant_id: str
    number: str
    dated: dt.date
    amount: Decimal
    lines: tuple[str, ...]
    media_type: MediaType
    readable: bool = True
    """False: the total is missing, so that the invoice must end in error."""

    @property
    def file_key(self) -> str:
        """Where the file store keeps the document."""
        ending = "png" if self.media_type == "image/png" else "pdf"
        return f"{self.tenant_id}/{self.invoice_id}.{ending}"

    def render(self) -> bytes:
        """Make the document: a PNG as a scanner gives it, or a PDF with a text layer."""
        return draw_scan(self.lines) if self.media_type == "image/png" else write_pdf(self.lines)
