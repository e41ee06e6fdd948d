"""Door: a kit's store, opened when somebody first needs it, and the embedded server behind it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from jobkit.store import Store

if TYPE_CHECKING:
    from jobkit.config import Settings
    from jobkit.embedded import EmbeddedServer

_EMBEDDED: Final = "embedded:"


class Door:
    """Opens the store at the first use and keeps it. Safe for threads; once closed, the next use opens it anew."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._server: EmbeddedServer | None = None
        self._store: Store | None = None

    def store(self) -> Store:
        """The store, on a server that was checked. Raises StoreUnavailable or UnsuitableServer."""
        store = self._store
        return self._opened() if store is None else store

    async def astore(self) -> Store:
        """As `store`; opening it does not hold up the event loop."""
        store = self._store
        return await asyncio.to_thread(self._opened) if store is None else store

    def close(self) -> None:
        """Close the connections and leave the embedded server. Connections of event loops close by `aclose`."""
        with self._lock:
            store, self._store = self._store, None
            server, self._server = self._server, None
        if store is not None:
            store.close()
        if server is not None:
            server.release()

    async def aclose(self) -> None:
        """As `close`, with the running event loop's connections."""
        if self._store is not None:
            await self._store.aclose()
        await asyncio.to_thread(self.close)

    def _opened(self) -> Store:
        with self._lock:
            if self._store is not None:
                return self._store
            server = self._acquire()
            try:
                store = self._checked(self._settings.redis_url if server is None else server.url)
            except BaseException:
                if server is not None:
                    server.release()
                raise
            self._server, self._store = server, store
            return store

    def _checked(self, url: str) -> Store:
        store = Store.open(url)
        try:
            store.check(self._settings.environment)
        except BaseException:
            store.close()
            raise
        return store

    def _acquire(self) -> EmbeddedServer | None:
        url = self._settings.redis_url
        if not url.startswith(_EMBEDDED):
            return None
        from jobkit.embedded import EmbeddedServer, embedded_path  # noqa: PLC0415 - loads what only it needs

        return EmbeddedServer.acquire(embedded_path(url))
