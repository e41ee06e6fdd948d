"""The port of the probes: an HTTP server in threads, for load balancers and container platforms."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from jobkit.worker.health import STALE, Health

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("jobkit.worker")

REQUEST: Final = 5.0
"""Seconds that one who asks may take to say what."""


class Port:
    """An HTTP server in threads: GET /readyz and /healthz answer 200 or 503 and the reason as JSON."""

    def __init__(self, host: str, port: int) -> None:
        self._health = Health(ready=False, live=True, stopping=False, reason="it starts")
        self._shown = time.monotonic()
        self._server = _Server(host, port, self._answer)
        name = self._server.socket.getsockname()
        log.info("probes are answered", extra={"host": name[0], "port": name[1]})
        # The poll is how soon close() is noticed; it costs one wake-up of select.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="jobkit-probes", daemon=True
        )
        self._thread.start()

    def show(self, health: Health) -> None:
        """What is answered from now on."""
        self._health, self._shown = health, time.monotonic()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(REQUEST)

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        health, silent = self._health, time.monotonic() - self._shown
        # Who answers here is a thread of its own: what it knows is worth nothing when the others hang.
        heard = silent < STALE
        reason = health.reason if heard else f"silent for {silent:.0f} s"
        match path.partition("?")[0]:
            case "/readyz":
                good, said = health.ready and heard, {"ready": health.ready and heard, "reason": reason}
            case "/healthz":
                good, said = health.live and heard, {"live": health.live and heard, "reason": reason}
            case _:
                return HTTPStatus.NOT_FOUND, {"reason": "expected /readyz or /healthz"}
        return (HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE), said


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, answer: Callable[[str], tuple[int, dict[str, Any]]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answer = answer
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks the host's name up, which may take seconds where there is no name server.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        log.debug("a probe broke off", extra={"client": str(client_address), "error": repr(sys.exception())})


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST

    def do_GET(self) -> None:
        """Answer one probe."""
        server = self.server
        if not isinstance(server, _Server):
            raise TypeError(f"expected the probes' server, got {server!r}")
        status, said = server.answer(self.path)
        body = json.dumps(said).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's
        """Say nothing: a probe comes every few seconds."""
