"""The file store over HTTP: URLs are signed here and checked there."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

import httpx

from ..ports import DocumentUnreadable, ServiceUnavailable
from ..signed_urls import presign
from .web import web_client


class HttpFiles:
    """Fulfils `ports.Files`. A URL is good for `good_for` seconds; `now` is seconds since 1970."""

    def __init__(
        self, base_url: str, *, secret: str, good_for: int = 300, now: Callable[[], float] = time.time
    ) -> None:
        self._base_url = base_url
        self._secret = secret.encode()
        self._good_for = good_for
        self._now = now
        self._web = web_client(read=30)

    def presign(self, key: str) -> str:
        """Return a URL that reads the file until it expires."""
        return presign(self._base_url, key, secret=self._secret, expires=int(self._now()) + self._good_for)

    def download(self, url: str) -> bytes:
        """Return the file; DocumentUnreadable when there is none, ServiceUnavailable when the store has trouble."""
        try:
            response = self._web.get(url)
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"the file store does not answer: {error!r}") from error
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise DocumentUnreadable(f"the file store has no such file: {response.text}")
        if not response.is_success:
            raise ServiceUnavailable(f"the file store answered {response.status_code}: {response.text}")
        return response.content
