"""An invoice as an accounting program writes it: a PDF of one page whose text can be selected."""

from __future__ import annotations

from collections.abc import Sequence

A4 = (595, 842)
FONT_SIZE, LEADING, MARGIN = 12, 20, 60


def write_pdf(lines: Sequence[str]) -> bytes:
    """Write one A4 page in Helvetica, a font every reader has. Characters outside Latin-1 raise UnicodeEncodeError."""
    content = _page_content(lines)
    width, height = A4
    return _assemble(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R"
            f" /Resources << /Font << /F1 5 0 R >> >> >>".encode("ascii"),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        ]
    )


def _page_content(lines: Sequence[str]) -> bytes:
    shown = b"".join(b"(%s) Tj T*\n" % _escaped(line) for line in lines)
    start = f"BT /F1 {FONT_SIZE} Tf {LEADING} TL {MARGIN} {A4[1] - MARGIN} Td\n".encode("ascii")
    return start + shown + b"ET"


def _escaped(line: str) -> bytes:
    text = line.encode("latin-1")
    for special in (b"\\", b"(", b")"):
        text = text.replace(special, b"\\" + special)
    return text


def _assemble(objects: Sequence[bytes]) -> bytes:
    """Join the objects, numbered from 1, and end with the table of their places, which readers look for first."""
    file = bytearray(b"%PDF-1.4\n")
    places: list[int] = []
    for number, body in enumerate(objects, start=1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % place for place in places)
    file += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(file)
