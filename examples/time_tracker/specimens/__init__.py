"""Invoices to try the app on: drawn as scans or written as PDFs, with what they say known beforehand."""

from .batch import batch
from .specimen import Specimen

__all__ = ["Specimen", "batch"]
