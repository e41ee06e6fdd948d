import datetime as dt
from decimal import Decimal

import pytest
from time_tracker.outside.invoice_rules import FieldMissing, find_fields, read_amount, read_day


@pytest.mark.parametrize("text", ["2026-03-14", "14.03.2026", "14. 3. 2026", "14 March 2026", "14 mar 2026 (net 30)"])
def test_a_day_is_read_in_every_way_sellers_write_it(text: str) -> None:
    """A date in ISO, dotted or written form is the same day."""
    assert read_day(text) == dt.date(2026, 3, 14)


@pytest.mark.parametrize("text", ["EUR 1,234.50", "1.234,50 EUR", "1234.50", "1 234,50", "EUR 1, 234.50"])
def test_an_amount_is_read_with_either_decimal_mark(text: str) -> None:
    """The last mark before two digits is the decimal mark, and spaces that OCR sees do no harm."""
    assert read_amount(text) == Decimal("1234.50")


def test_an_amount_without_cents_is_whole() -> None:
    """An amount without a decimal mark counts whole units."""
    assert read_amount("EUR 90") == Decimal("90.00")


@pytest.mark.parametrize("text", ["31.02.2026", "soon", "14 Frimaire 2026"])
def test_a_day_that_does_not_exist_is_refused(text: str) -> None:
    """What is no day of the calendar is refused with the text itself."""
    with pytest.raises(FieldMissing, match=text):
        read_day(text)


def test_a_missing_field_is_named() -> None:
    """An invoice without a total is refused, naming the total."""
    with pytest.raises(FieldMissing, match="no total found"):
        find_fields("Invoice No. INV-1234\nDate: 2026-03-14")
