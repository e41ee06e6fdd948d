"""The invoices' repository in SQLite, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from ..invoices import Invoice, InvoiceStatus, InvoiceUnknown
from ..payloads import InvoiceFields

BUSY_TIMEOUT = 15
"""Seconds that a write waits for the other processes' writes."""

METADATA = sa.MetaData()
INVOICES = sa.Table(
    "invoices",
    METADATA,
    sa.Column("invoice_id", sa.String, primary_key=True),
    sa.Column("tenant_id", sa.String, nullable=False, index=True),
    sa.Column("file_key", sa.String, nullable=False),
    sa.Column("media_type", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("amount", sa.String),
    sa.Column("date", sa.Date),
    sa.Column("number", sa.String),
    sa.Column("error", sa.String),
    sa.Column("claim", sa.String),
)


class Database:
    """One SQLite file, shared by processes. A connection is opened for each use, so there is nothing to close."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": BUSY_TIMEOUT})

    def create(self) -> None:
        """Make the tables that are missing; readers and a writer then do not block each other."""
        with self.engine.begin() as connection:
            connection.execute(sa.text("PRAGMA journal_mode=WAL"))
            METADATA.create_all(connection)


class SqlInvoices:
    """Fulfils `ports.Invoices`, and what the app's own side needs: adding and looking up."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine

    def add(self, invoices: Iterable[Invoice]) -> None:
        """Add new invoices, as the app does when a tenant hands them in."""
        rows = [
            {
                "invoice_id": each.invoice_id,
                "tenant_id": each.tenant_id,
                "file_key": each.file_key,
                "media_type": each.media_type,
                "status": each.status.value,
            }
            for each in invoices
        ]
        with self._engine.begin() as connection:
            connection.execute(sa.insert(INVOICES), rows)

    def get(self, invoice_id: str) -> Invoice:
        """Return the invoice as it stands; InvoiceUnknown when there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(INVOICES).where(INVOICES.c.invoice_id == invoice_id)).one_or_none()
        if row is None:
            raise InvoiceUnknown(f"there is no invoice {invoice_id!r}")
        return _invoice(row)

    def begin(self, invoice_id: str, tenant_id: str, *, claim: str) -> Invoice:
        """Take the invoice for this claim and mark it as being processed; InvoiceUnknown when the tenant has none."""
        taken = (
            sa.update(INVOICES)
            .where(INVOICES.c.invoice_id == invoice_id, INVOICES.c.tenant_id == tenant_id)
            .values(status=InvoiceStatus.PROCESSING.value, claim=claim, error=None)
            .returning(*INVOICES.c)
        )
        with self._engine.begin() as connection:
            row = connection.execute(taken).one_or_none()
        if row is None:
            raise InvoiceUnknown(f"tenant {tenant_id!r} has no invoice {invoice_id!r}")
        return _invoice(row)

    def mark_processed(self, invoice_id: str, fields: InvoiceFields, *, claim: str) -> None:
        """Keep what the invoice says, and end it processed."""
        said = {"amount": str(fields.amount), "date": fields.date, "number": fields.number}
        self._end(invoice_id, claim, status=InvoiceStatus.PROCESSED.value, **said)

    def mark_error(self, invoice_id: str, error: str, *, claim: str) -> None:
        """End the invoice in error, with the reason."""
        self._end(invoice_id, claim, status=InvoiceStatus.ERROR.value, error=error)

    def _end(self, invoice_id: str, claim: str, **values: object) -> None:
        owned = sa.and_(INVOICES.c.invoice_id == invoice_id, INVOICES.c.claim == claim)
        with self._engine.begin() as connection:
            connection.execute(sa.update(INVOICES).where(owned).values(**values))


def _invoice(row: sa.Row[Any]) -> Invoice:
    said = row.number is not None
    return Invoice(
        invoice_id=row.invoice_id,
        tenant_id=row.tenant_id,
        file_key=row.file_key,
        media_type=row.media_type,
        status=InvoiceStatus(row.status),
        fields=InvoiceFields(amount=row.amount, date=row.date, number=row.number) if said else None,
        error=row.error,
    )
