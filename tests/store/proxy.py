"""A proxy in front of a server's unix socket that loses the replies it is told to lose."""

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs

_CHUNK = 65536


@attrs.define
class LossyProxy:
    """Forwards what clients send; the server does it all, and a reply to lose is dropped with its connection.

    `lose(n)` arms it: the n replies that come next are lost. `refuse` closes new connections at once.
    """

    server: str
    folder: Path
    refuse: bool = False
    lost: int = 0
    _to_lose: int = 0
    _listener: socket.socket = attrs.field(init=False)
    _sockets: list[socket.socket] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/p"

    def lose(self, replies: int = 1) -> None:
        with self._lock:
            self._to_lose = replies

    def _loses_this(self) -> bool:
        with self._lock:
            if self._to_lose:
                self._to_lose -= 1
                self.lost += 1
                return True
            return False

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / "p"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed: the test is over
            while True:
                client, _ = self._listener.accept()
                if self.refuse:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.server.removeprefix("unix://"))
                self._sockets += [client, server]
                threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, replies: bool) -> None:  # noqa: FBT001 - by thread
        with contextlib.suppress(OSError):  # either side has gone
            while chunk := source.recv(_CHUNK):
                if replies and self._loses_this():
                    break
                target.sendall(chunk)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in [self._listener, *self._sockets]:
            each.close()


@contextlib.contextmanager
def lossy_proxy(server: str) -> Iterator[LossyProxy]:
    """Run a proxy in front of a server."""
    folder = Path(tempfile.mkdtemp(prefix="jk-"))
    proxy = LossyProxy(server, folder)
    proxy.listen()
    try:
        yield proxy
    finally:
        proxy.close()
        shutil.rmtree(folder, ignore_errors=True)
