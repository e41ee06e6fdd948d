"""The benchmarks' own server: without persistence, on a free port of loopback and on a unix socket; ends with them."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import redis

from jobkit.embedded.binary import find_binary
from jobkit.embedded.guard import die_with_parent

CONFIG = """\
bind 127.0.0.1
port {port}
unixsocket {folder}/s
dir {folder}
save ""
appendonly no
maxmemory-policy noeviction
"""
DEFAULT_LISTPACK = 64
OWN_COMMANDS = {"info", "flushall", "config|resetstat", "config|set", "ping", "script|flush", "function|flush"}


class NoServer(Exception):
    """The server is not installed, or does not start; the message says which and why."""


@attrs.frozen
class Counters:
    """What a server has done since it was emptied."""

    commands: int
    """Calls, those inside scripts included, ours left out."""
    reads: int
    """How often it read from a client: close to the number of round trips."""
    cpu: float
    """Seconds of its main thread and the others, user and system."""
    memory: int
    """Bytes in use."""

    def since(self, before: "Counters") -> "Counters":
        """Give the difference."""
        pairs = zip(attrs.astuple(self), attrs.astuple(before), strict=True)
        return Counters(*(now - then for now, then in pairs))


@attrs.frozen
class Server:
    """A server that runs."""

    kind: str
    version: str
    pid: int
    tcp: str
    unix: str
    client: "redis.Redis"

    def empty(self, listpack: int | None = None) -> None:
        """Take everything out of it, scripts and counters too, and pack hashes up to so many bytes a field."""
        self.client.flushall()
        self.client.script_flush()
        self.client.function_flush()
        self.client.config_set("hash-max-listpack-value", listpack or DEFAULT_LISTPACK)
        self.client.config_resetstat()

    def counters(self) -> Counters:
        """Look at what it has done."""
        info: dict[str, Any] = self.client.info("everything")
        calls = (
            value["calls"]
            for key, value in info.items()
            if key.startswith("cmdstat_") and key.removeprefix("cmdstat_") not in OWN_COMMANDS
        )
        return Counters(
            commands=sum(calls),
            reads=info["total_reads_processed"],
            cpu=info["used_cpu_user"] + info["used_cpu_sys"],
            memory=info["used_memory"],
        )


def program(kind: str) -> Path:
    """Find the program of a kind of server. Raises NoServer."""
    if kind == "valkey":
        return find_binary()
    found = shutil.which("redis-server")
    if found is None:
        raise NoServer("redis-server is not on PATH: apt-get install redis-server, or take --server valkey")
    return Path(found)


def free_port() -> int:
    """Give a port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def private_server(kind: str = "redis") -> Iterator[Server]:
    """Start a server, `redis` (Debian's) or `valkey` (the embedded one's program); stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="jk-bench-"))
    port = free_port()
    process = subprocess.Popen(
        [program(kind), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - async-signal-safe, and started before any thread
    )
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write(CONFIG.format(port=port, folder=folder))
        process.stdin.close()
        log = []
        for line in process.stdout:
            log.append(line)
            if "eady to accept connections" in line:
                break
        else:
            raise NoServer(f"{kind} did not start:\n{''.join(log)}")
        client = redis.Redis(unix_socket_path=f"{folder}/s")
        # Nobody reads the log from here on: a full pipe would hold the server up.
        client.config_set("loglevel", "warning")
        about: dict[str, Any] = client.info("server")
        version = about.get("valkey_version") or about["redis_version"]
        yield Server(kind, version, process.pid, f"redis://127.0.0.1:{port}/0", f"unix://{folder}/s", client)
        client.close()
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout:
            process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
