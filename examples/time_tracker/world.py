"""Everything the app needs around it, on this machine, for as long as a `with` block lasts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from .infrastructure.database import Database, SqlInvoices
from .invoices import Invoice
from .outside import ExtractionService, FileStore
from .specimens import Specimen


class World:
    """A database in `folder`, a file store and an extraction service on loopback."""

    def __init__(self, folder: Path, *, extraction: ExtractionService | None = None) -> None:
        self._secret = secrets.token_hex(16)
        self._database_url = f"sqlite:///{folder / 'time_tracker.sqlite3'}"
        self._running = ExitStack()
        self.extraction = extraction or ExtractionService()
        self.files = FileStore(folder / "files", secret=self._secret.encode())
        self.database = Database(self._database_url)
        self.invoices = SqlInvoices(self.database)

    def __enter__(self) -> Self:
        self.database.create()
        self._running.enter_context(self.files)
        self._running.enter_context(self.extraction)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a worker's environment must say to find all this: see `TrackerSettings`."""
        return {
            "TIME_TRACKER_DATABASE_URL": self._database_url,
            "TIME_TRACKER_FILES_URL": self.files.url,
            "TIME_TRACKER_FILES_SECRET": self._secret,
            "TIME_TRACKER_EXTRACTOR_URL": self.extraction.url,
        }

    def hand_in(self, specimens: Iterable[Specimen]) -> None:
        """Do what the app does when tenants hand in invoices: keep the documents and add the records."""
        invoices: list[Invoice] = []
        for each in specimens:
            self.files.put(each.file_key, each.render())
            invoices.append(
                Invoice(
                    invoice_id=each.invoice_id,
                    tenant_id=each.tenant_id,
                    file_key=each.file_key,
                    media_type=each.media_type,
                )
            )
        self.invoices.add(invoices)
