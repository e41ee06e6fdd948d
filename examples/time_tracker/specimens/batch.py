"""A batch of invoices from several sellers, each with its own layout; the same one every time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

from .specimen import MediaType, Specimen

TENANTS = ("t_acme", "t_globex", "t_initech")
FIRST_DAY = dt.date(2026, 1, 7)
EVERY_TH_IS_A_PDF = 4


def batch(count: int, *, series: str = "inv", scans: bool = True, smudged: bool = True) -> list[Specimen]:
    """Make `count` invoices, whose ids begin with `series`.

    `scans` draws most of them as images; without it all are PDFs with a text layer. `smudged` leaves the total off the
    last one, so that the batch holds an invoice that cannot be read.
    """
    return [
        _specimen(
            index,
            series=series,
            scan=scans and index % EVERY_TH_IS_A_PDF != EVERY_TH_IS_A_PDF - 1,
            readable=not (smudged and index == count - 1),
        )
        for index in range(count)
    ]


def _specimen(index: int, *, series: str, scan: bool, readable: bool) -> Specimen:
    number = f"{('INV', 'RE', 'F')[index % 3]}-2026-{417 + 13 * index:04d}"
    dated = FIRST_DAY + dt.timedelta(days=9 * index)
    net = Decimal(24_000 + 7_919 * index) / 100
    amount = (net * Decimal("1.19")).quantize(Decimal("0.01"))
    layout = LAYOUTS[index % len(LAYOUTS)]
    lines = layout(number, dated, net, amount)
    media_type: MediaType = "image/png" if scan else "application/pdf"
    return Specimen(
        invoice_id=f"{series}_{index + 1:03d}",
        tenant_id=TENANTS[index % len(TENANTS)],
        number=number,
        dated=dated,
        amount=amount,
        lines=lines if readable else lines[:-1],
        media_type=media_type,
        readable=readable,
    )


Layout = Callable[[str, dt.date, Decimal, Decimal], tuple[str, ...]]


def _english(number: str, dated: dt.date, net: Decimal, amount: Decimal) -> tuple[str, ...]:
    return (
        "Harbour Design Ltd",
        "",
        f"Invoice No. {number}",
        f"Date: {dated.day} {dated:%B %Y}",
        "",
        f"Consulting: {net:,.2f}",
        f"Tax 19 %: {amount - net:,.2f}",
        f"Total due: EUR {amount:,.2f}",
    )


def _german(number: str, dated: dt.date, net: Decimal, amount: Decimal) -> tuple[str, ...]:
    return (
        "Nordlicht Software GmbH",
        "",
        f"Rechnung Nr. {number}",
        f"Datum: {dated:%d.%m.%Y}",
        "",
        f"Netto: {_comma(net)} EUR",
        f"MwSt 19 %: {_comma(amount - net)} EUR",
        f"Gesamtbetrag: {_comma(amount)} EUR",
    )


def _plain(number: str, dated: dt.date, net: Decimal, amount: Decimal) -> tuple[str, ...]:
    return (
        "Atelier Fournier",
        "",
        f"Invoice number: {number}",
        f"Invoice date: {dated.isoformat()}",
        "",
        f"Subtotal: {net:.2f}",
        f"Tax: {amount - net:.2f}",
        f"Amount due: {amount:.2f} EUR",
    )


LAYOUTS: tuple[Layout, ...] = (_english, _german, _plain)


def _comma(amount: Decimal) -> str:
    """1,234.50 as it is written where the comma is the decimal mark: 1.234,50."""
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))
