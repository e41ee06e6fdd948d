"""The demo's end: what was read of each invoice beside what is printed on it, and what each job cost."""

from __future__ import annotations

import attrs
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .invoices import Invoice, InvoiceStatus
from .specimens import Specimen


@attrs.frozen(kw_only=True)
class Cost:
    """What a job took: seconds that its attempts ran, and how many there were."""

    seconds: float
    attempts: int


@attrs.frozen(kw_only=True)
class Outcome:
    """One invoice: as it was printed, as it ended, and what its job cost."""

    specimen: Specimen
    invoice: Invoice
    cost: Cost

    @property
    def as_expected(self) -> bool:
        """Whether every field was read right, or an unreadable invoice ended in error."""
        if not self.specimen.readable:
            return self.invoice.status is InvoiceStatus.ERROR
        return self.invoice.status is InvoiceStatus.PROCESSED and self._read == self._printed

    @property
    def cells(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Number, date, amount and status: as read, and as printed."""
        expected = InvoiceStatus.PROCESSED if self.specimen.readable else InvoiceStatus.ERROR
        return (*self._read, self.invoice.status.value), (*self._printed, expected.value)

    @property
    def _read(self) -> tuple[str, ...]:
        said = self.invoice.fields
        return (said.number, said.date.isoformat(), f"{said.amount:.2f}") if said else ("-", "-", "-")

    @property
    def _printed(self) -> tuple[str, ...]:
        printed = self.specimen
        return (printed.number, printed.dated.isoformat(), f"{printed.amount:.2f}" if printed.readable else "(missing)")


def print_report(console: Console, outcomes: list[Outcome]) -> None:
    """Print the table, and why invoices ended in error."""
    console.print("\nEach invoice as it was read, and below it as it is printed:", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    for heading in ("Invoice", "Number", "Date"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Amount", justify="right", no_wrap=True)
    table.add_column("Status", no_wrap=True)
    table.add_column("Run time", justify="right", no_wrap=True)
    table.add_column("Attempts", justify="right", no_wrap=True)
    for each in outcomes:
        _add(table, each)
    console.print(table)
    for each in outcomes:
        if each.invoice.status is InvoiceStatus.ERROR:
            console.print(
                f"{each.invoice.invoice_id}: {each.invoice.error}", markup=False, highlight=False, soft_wrap=True
            )


def _add(table: Table, outcome: Outcome) -> None:
    read, printed = outcome.cells
    style = "green" if outcome.as_expected else "red"
    kind = "scan" if outcome.specimen.media_type.startswith("image/") else "pdf"
    number, date, amount, status = (Text(each, style=style) for each in read)
    cost = outcome.cost
    table.add_row(
        outcome.specimen.invoice_id, number, date, amount, status, f"{cost.seconds:.2f} s", str(cost.attempts)
    )
    table.add_row(Text(f"  {kind}", style="dim"), *(Text(each, style="dim") for each in printed))
