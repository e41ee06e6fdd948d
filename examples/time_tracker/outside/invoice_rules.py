"""How the extraction service reads an invoice: by the labels that sellers print, in English and German."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

NUMBER = re.compile(r"\b(?:invoice\s+(?:no|number)|rechnung\s+nr)\b[.:\s]*([A-Z0-9][A-Z0-9/-]{3,})", re.IGNORECASE)
DATE = re.compile(r"\b(?:date|datum)\b[:\s]*([^\n]+)", re.IGNORECASE)
TOTAL = re.compile(r"\b(?:total\s+due|amount\s+due|gesamtbetrag)\b[:\s]*([^\n]+)", re.IGNORECASE)

ISO_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
DOTTED_DAY = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})")
WRITTEN_DAY = re.compile(r"(\d{1,2})\s+([A-Za-z]{3})[a-z]*\s+(\d{4})")
FIGURE = re.compile(r"\d[\d.,\s]*[.,]\s?\d{2}(?!\d)|\d+")


class FieldMissing(ValueError):
    """The text lacks a field, or holds one that cannot be understood."""


def find_fields(text: str) -> dict[str, str]:
    """Return `number`, `date` (ISO) and `amount` (with a decimal point) of the invoice in `text`."""
    return {
        "number": _labelled(NUMBER, text, "invoice number").upper(),
        "date": read_day(_labelled(DATE, text, "date")).isoformat(),
        "amount": str(read_amount(_labelled(TOTAL, text, "total"))),
    }


def _labelled(pattern: re.Pattern[str], text: str, what: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise FieldMissing(f"no {what} found in {len(text)} characters of text")
    return found.group(1).strip()


def read_day(text: str) -> dt.date:
    """Read 2026-03-14, 14.03.2026 or 14 March 2026."""
    try:
        if found := ISO_DAY.search(text):
            return dt.date(*map(int, found.groups()))
        if found := DOTTED_DAY.search(text):
            day, month, year = map(int, found.groups())
            return dt.date(year, month, day)
        if (found := WRITTEN_DAY.search(text)) and found.group(2).lower() in MONTHS:
            return dt.date(int(found.group(3)), MONTHS.index(found.group(2).lower()) + 1, int(found.group(1)))
    except ValueError as error:
        raise FieldMissing(f"there is no such day: {text!r}") from error
    raise FieldMissing(f"expected a date such as 2026-03-14, 14.03.2026 or 14 March 2026, got {text!r}")


def read_amount(text: str) -> Decimal:
    """Read 1234.50, 1,234.50 or 1.234,50; the last mark before two digits is the decimal mark."""
    found = FIGURE.search(text)
    if found is None:
        raise FieldMissing(f"expected an amount such as 1,234.50, got {text!r}")
    figure = re.sub(r"\s", "", found.group())
    whole, cents = (figure[:-3], figure[-2:]) if figure[-3:-2] in {".", ","} else (figure, "00")
    return Decimal(f"{re.sub(r'[.,]', '', whole)}.{cents}")
