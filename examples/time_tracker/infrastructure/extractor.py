"""The extraction service over HTTP."""

from __future__ import annotations

from http import HTTPStatus

import httpx
from pydantic import ValidationError

from ..payloads import InvoiceFields
from ..ports import DocumentUnreadable, ServiceUnavailable, TryLater
from .web import web_client

THINKING_TIME = 60
"""Seconds that the service may take to answer."""


class HttpExtractor:
    """Fulfils `ports.Extractor`."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/extract"
        self._web = web_client(read=THINKING_TIME)

    def extract(self, text: str) -> InvoiceFields:
        """Return the fields; DocumentUnreadable, ServiceUnavailable or TryLater when there are none to be had."""
        try:
            response = self._web.post(self._url, json={"text": text})
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"the extraction service does not answer: {error!r}") from error
        match response.status_code:
            case HTTPStatus.OK:
                return _fields(response)
            case HTTPStatus.TOO_MANY_REQUESTS:
                wait = float(response.headers.get("Retry-After", "5"))
                raise TryLater(f"the extraction service asks us to wait {wait:g} s", wait)
            case HTTPStatus.UNPROCESSABLE_ENTITY:
                raise DocumentUnreadable(f"no invoice could be found in the document: {response.json()['error']}")
            case status:
                raise ServiceUnavailable(f"the extraction service answered {status}: {response.text:.200}")


def _fields(response: httpx.Response) -> InvoiceFields:
    try:
        return InvoiceFields.model_validate_json(response.content)
    except ValidationError as error:
        raise ServiceUnavailable(f"the extraction service answered what is no invoice: {error}") from error
