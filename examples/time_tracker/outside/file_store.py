"""A file store in the manner of S3: a file is read by a presigned URL and by nothing else."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable
from pathlib import Path

from ..signed_urls import SignatureRefused, verify
from .loopback import Loopback, Reply, Request


class FileStore(Loopback):
    """Serves the files under `folder` on loopback, for URLs signed with `secret`; `now` is seconds since 1970."""

    def __init__(self, folder: Path, *, secret: bytes, now: Callable[[], float] = time.time) -> None:
        super().__init__(self._answer, name="file-store")
        self._folder = folder.resolve()
        self._secret = secret
        self._now = now

    def put(self, key: str, content: bytes) -> None:
        """Keep a file under `key`, a relative path."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def _path(self, key: str) -> Path:
        path = (self._folder / key).resolve()
        if not path.is_relative_to(self._folder):
            raise SignatureRefused(f"{key!r} leaves the store")
        return path

    def _answer(self, request: Request) -> Reply:
        try:
            path = self._path(verify(request.target, secret=self._secret, now=self._now()))
        except SignatureRefused as error:
            return Reply.of_json(403, {"error": str(error)})
        if not path.is_file():
            return Reply.of_json(404, {"error": f"there is no file {path.name!r}"})
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Reply(status=200, body=path.read_bytes(), content_type=kind)
