"""An HTTP server on a free port of this machine, in threads of its own, for as long as a `with` block lasts."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import attrs


@attrs.frozen(kw_only=True)
class Request:
    """What a client asked: `target` is the path with its query."""

    method: str
    target: str
    body: bytes


@attrs.frozen(kw_only=True)
class Reply:
    """What a server answers."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

    @classmethod
    def of_json(cls, status: int, value: object, **headers: str) -> Reply:
        """Answer with a JSON body; headers are given with `_` for `-`."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status=status, body=json.dumps(value).encode(), headers=named)


class Loopback:
    """Serves `answer` on 127.0.0.1; each request has a thread, so `answer` must be safe to call from several."""

    def __init__(self, answer: Callable[[Request], Reply], *, name: str) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(answer))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name=name, daemon=True)

    @property
    def url(self) -> str:
        """Where the server listens, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless it is only that whoever asked has gone away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(answer: Callable[[Request], Reply]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            self._answer()

        do_POST = do_GET  # noqa: N815 (the names are those of http.server)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as above)
            """Say nothing: the caller's output belongs to the caller."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            reply = answer(Request(method=self.command, target=self.path, body=body))
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            for name, text in reply.headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(reply.body)

    return Handler
