"""How the adapters speak HTTP."""

from __future__ import annotations

import logging

import httpx


def web_client(*, read: float) -> httpx.Client:
    """Make a client that waits `read` seconds for an answer; one serves all threads of a worker.

    It keeps no connections, so there is nothing to close, and asks no proxy: the services are on the app's own network.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes whole URLs, and ours are signed
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(timeout=httpx.Timeout(10, read=read), limits=limits, trust_env=False)
