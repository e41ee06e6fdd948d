"""A proxy before a server: it reads the protocol, so it can cut, stall or delay at any command or any reply."""

import hashlib
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import IO, Any

import attrs

from jobkit.store.scripting import NAMES, script

SCRIPTS = {script(name).sha: name for name in NAMES}


class Act(Enum):
    """What happens to a command, or to a reply."""

    GO = "go"
    CUT = "cut"  # both connections end; the command, or the reply, goes nowhere


@attrs.frozen
class Call:
    """A command on its way to the server (`reply` is None), or its reply on the way back."""

    name: str  # the script's name, or the command in small letters
    words: tuple[bytes, ...]
    reply: bytes | None = None

    def mentions(self, job_id: str) -> bool:
        """Whether the job is among its words, or (a claim's) in its reply."""
        name = job_id.encode()
        if any(word == name or word.endswith(b":" + name) for word in self.words):
            return True
        return self.hands_out(job_id)

    @property
    def of_a_lane(self) -> bool:
        """Whether it is made on the event loop: its caller's reply key tells."""
        return any(b":jk:reply:" in word and b":lane-" in word for word in self.words)

    def hands_out(self, job_id: str) -> bool:
        """Whether it is a reply by which the caller gets the job: a claim's, or of a finish that claims too."""
        return self.reply is not None and b"\r\n" + job_id.encode() + b"\r\n" in self.reply


Rule = Callable[[Call], Act]


def let_pass(_: Call) -> Act:
    """Disturb nothing."""
    return Act.GO


class Proxy:
    """A socket that leads to the server at `url`. `rule` is asked about every command and every reply, one at a time.

    `latency` in seconds is added to each reply.
    """

    def __init__(self, url: str, *, rule: Rule = let_pass, latency: float = 0.0) -> None:
        self.rule = rule
        self.latency = latency
        self._upstream = url.removeprefix("unix://")
        self._folder = Path(tempfile.mkdtemp(prefix="jk-"))
        self.url = f"unix://{self._folder}/p"
        self._gate = threading.Lock()
        self._links: list[_Link] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._folder}/p")
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def ask(self, call: Call) -> Act:
        with self._gate:
            return self.rule(call)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for link in self._links:
            link.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._upstream)
            except OSError:  # the server is away
                client.close()
                server.close()
                continue
            for link in [link for link in self._links if link.over]:
                link.end()
                self._links.remove(link)
            self._links.append(_Link(self, client, server))


class _Link:
    """One client's connection and the server's behind it: a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._open: deque[Call] = deque()
        self._subscribed = False
        self._threads = [
            threading.Thread(target=self._pump, args=(direction,), daemon=True)
            for direction in (self._requests, self._replies)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def end(self) -> None:
        self._cut()
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._server.close()

    def _pump(self, direction: Callable[[], None]) -> None:
        try:
            direction()
        except (OSError, EOFError):  # one side has gone: so does the other
            pass
        finally:
            self._cut()

    def _requests(self) -> None:
        with self._client.makefile("rb") as stream:
            while True:
                raw, words = read_command(stream)
                call = Call(name_of(words), words)
                if call.name == "subscribe":
                    self._subscribed = True
                if self._proxy.ask(call) is Act.CUT:
                    return
                self._open.append(call)
                self._server.sendall(raw)

    def _replies(self) -> None:
        with self._server.makefile("rb") as stream:
            while True:
                raw = read_reply(stream)
                if not self._subscribed:  # what is published comes unasked
                    call = self._open.popleft()
                    if self._proxy.ask(attrs.evolve(call, reply=raw)) is Act.CUT:
                        return
                if self._proxy.latency:
                    time.sleep(self._proxy.latency)  # the latency is what the test asked for
                self._client.sendall(raw)

    def _cut(self) -> None:
        for end in (self._client, self._server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:  # gone already
                continue


def name_of(words: tuple[bytes, ...]) -> str:
    """The script that a command calls, or the command."""
    name = words[0].decode().lower()
    if name == "evalsha":
        return SCRIPTS.get(words[1].decode(), name)
    if name == "eval":
        return SCRIPTS.get(hashlib.sha1(words[1], usedforsecurity=False).hexdigest(), name)
    return name


def read_command(stream: IO[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    """The bytes of one command, and its words."""
    head = _line(stream)
    parts, words = [head], []
    for _ in range(int(head[1:])):
        size = _line(stream)
        word = _exactly(stream, int(size[1:]) + 2)
        parts += (size, word)
        words.append(word[:-2])
    return b"".join(parts), tuple(words)


def read_reply(stream: IO[bytes]) -> bytes:
    """The bytes of one reply."""
    head = _line(stream)
    kind, size = head[:1], head[1:]
    if kind == b"$" and int(size) >= 0:
        return head + _exactly(stream, int(size) + 2)
    if kind == b"*" and int(size) > 0:
        return head + b"".join(read_reply(stream) for _ in range(int(size)))
    return head


def _line(stream: IO[bytes]) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    return line


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


@attrs.define
class AtCall:
    """A rule that cuts the nth call of this name for this job, and those after it until it has cut `times` times.

    A claim's command names no job, so every claim counts there; its reply does. `do` is called just before a cut;
    `spent` is set by the last one.
    """

    name: str
    job_id: str
    nth: int
    on_reply: bool
    times: int = 1
    do: Callable[[], Any] = lambda: None
    cuts: int = 0
    spent: threading.Event = attrs.field(factory=threading.Event)
    _seen: int = 0

    def __call__(self, call: Call) -> Act:
        if (call.reply is not None) is not self.on_reply or not self._means(call):
            return Act.GO
        self._seen += 1
        if self._seen < self.nth or self.cuts == self.times:
            return Act.GO
        self.cuts += 1
        self.do()
        if self.cuts == self.times:
            self.spent.set()
        return Act.CUT

    def _means(self, call: Call) -> bool:
        if self.name != "claim":
            return call.name == self.name and call.mentions(self.job_id)
        return call.hands_out(self.job_id) if self.on_reply else call.name == "claim"
