"""Documents as text: a scan through Tesseract, a PDF through its own text layer."""

from __future__ import annotations

import io
import os
import shutil
import threading

import pypdfium2  # type: ignore[import-untyped]
import pytesseract
from PIL import Image, UnidentifiedImageError

from ..ports import DocumentUnreadable, ServiceUnavailable

TESSERACT_MISSING = (
    "Tesseract, which reads scanned invoices, is not installed. On Debian or Ubuntu: apt-get install tesseract-ocr; "
    "on macOS: brew install tesseract"
)
ONE_BLOCK = "--psm 6"
"""Tesseract's word for: the page is one block of lines, keep them apart."""


def tesseract_installed() -> bool:
    """Tell whether scans can be read on this machine."""
    return shutil.which("tesseract") is not None


class DocumentReader:
    """Fulfils `ports.Reader`. A page takes about a third of a second; `timeout` (whole seconds) bounds a bad one."""

    def __init__(self, *, timeout: int = 30) -> None:
        # Several jobs read at once: on shared processors Tesseract's own threads make each four times slower.
        os.environ.setdefault("OMP_THREAD_LIMIT", "1")
        self._timeout = timeout
        self._pdfium = threading.Lock()  # PDFium may be in one thread at a time

    def read(self, document: bytes, media_type: str) -> str:
        """Return the document's text; DocumentUnreadable when this machine cannot read it."""
        match media_type:
            case "image/png" | "image/jpeg" | "image/tiff":
                return self._read_scan(document)
            case "application/pdf":
                return self._read_pdf(document)
            case _:
                raise DocumentUnreadable(f"expected a PDF or a PNG, JPEG or TIFF image, got {media_type!r}")

    def _read_scan(self, document: bytes) -> str:
        try:
            with Image.open(io.BytesIO(document)) as page:
                return str(pytesseract.image_to_string(page, config=ONE_BLOCK, timeout=self._timeout))
        except UnidentifiedImageError as error:
            raise DocumentUnreadable(f"the scan is no image: {error}") from error
        except pytesseract.TesseractNotFoundError as error:
            raise DocumentUnreadable(TESSERACT_MISSING) from error
        except pytesseract.TesseractError as error:
            if error.status < 0:  # a signal: Ctrl-C reaches the programs that a worker runs too
                raise ServiceUnavailable(f"Tesseract was ended by signal {-error.status}") from error
            raise DocumentUnreadable(f"Tesseract cannot read the scan: {error.message}") from error
        except RuntimeError as error:  # what pytesseract raises when the time is over
            raise ServiceUnavailable(f"Tesseract took longer than {self._timeout} s") from error

    def _read_pdf(self, document: bytes) -> str:
        with self._pdfium:
            try:
                pdf = pypdfium2.PdfDocument(document)
            except pypdfium2.PdfiumError as error:
                raise DocumentUnreadable(f"the file is no PDF that can be opened: {error}") from error
            try:
                text = "\n".join(page.get_textpage().get_text_range() for page in pdf)
            finally:
                pdf.close()
        if not text.strip():
            raise DocumentUnreadable("the PDF has no text layer: send the scan as an image")
        return text.replace("\r\n", "\n")
