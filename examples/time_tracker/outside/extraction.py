"""The structured-extraction service: text of an invoice in, its number, date and amount out, as JSON over HTTP.

A stand-in for a language model's API in its manners (slow, rate-limited, failing now and then), not in being called: it
is a server of its own and reads the text by the rules of `invoice_rules`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from .faults import OK, Faults
from .invoice_rules import FieldMissing, find_fields
from .loopback import Loopback, Reply, Request

RATE_LIMITED = 429


class ExtractionService(Loopback):
    """Answers `POST /v1/extract` with `{"text": ...}` after thinking for `think` seconds.

    `faults` says which requests go wrong; `retry_after` (seconds) goes with a 429. `before_answer` is called with the
    text before each answer, in the request's thread: tests hold a job there.
    """

    def __init__(
        self,
        *,
        faults: Faults | None = None,
        think: float = 0.0,
        retry_after: float = 1.0,
        before_answer: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(self._answer, name="extraction")
        self.faults = faults or Faults()
        self._think = think
        self._retry_after = retry_after
        self._before_answer = before_answer
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._requests: list[str] = []

    @property
    def requests(self) -> list[str]:
        """The texts that were sent, in the order they came."""
        with self._lock:
            return list(self._requests)

    def _answer(self, request: Request) -> Reply:
        if (request.method, request.target) != ("POST", "/v1/extract"):
            return Reply.of_json(404, {"error": f"expected POST /v1/extract, got {request.method} {request.target}"})
        try:
            text = json.loads(request.body)["text"]
        except (ValueError, KeyError, TypeError):
            return Reply.of_json(400, {"error": 'expected a body like {"text": "Invoice No. ..."}'})
        with self._lock:
            self._requests.append(text)
        if self._before_answer is not None:
            self._before_answer(text)
        self._closing.wait(self._think)
        status = self.faults.next()
        if status == RATE_LIMITED:
            return Reply.of_json(status, {"error": "too many requests"}, Retry_After=f"{self._retry_after:g}")
        if status != OK:
            return Reply.of_json(status, {"error": "the model is not available"})
        try:
            return Reply.of_json(200, find_fields(text))
        except FieldMissing as error:
            return Reply.of_json(422, {"error": str(error)})
