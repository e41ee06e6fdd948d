"""The world outside the app, as real servers on loopback: a file store and an extraction service."""

from .extraction import ExtractionService
from .faults import Faults
from .file_store import FileStore

__all__ = ["ExtractionService", "Faults", "FileStore"]
