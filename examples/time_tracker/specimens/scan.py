"""An invoice as a scanner gives it: black on not quite white, in the font that Pillow carries."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, RULE = 246, 24, 150
WIDTH, MARGIN, LEADING = 1000, 80, 52


def draw_scan(lines: Sequence[str]) -> bytes:
    """Draw the lines on a page as tall as they need; an empty line is a gap. Returns a greyscale PNG at 150 dpi."""
    body, title = ImageFont.load_default(size=28), ImageFont.load_default(size=38)
    page = Image.new("L", (WIDTH, 2 * MARGIN + LEADING * len(lines)), PAPER)
    pen = ImageDraw.Draw(page)
    for row, line in enumerate(lines):
        top = MARGIN + row * LEADING
        pen.text((MARGIN, top), line, font=body if row else title, fill=INK)
    pen.line((MARGIN, MARGIN + LEADING, WIDTH - MARGIN, MARGIN + LEADING), fill=RULE, width=2)
    file = io.BytesIO()
    page.save(file, format="PNG", dpi=(150, 150))
    return file.getvalue()
