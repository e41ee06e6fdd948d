"""Servers and a Sentinel on loopback, which a test kills, stops and starts; each says in its log what it does."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import redis

from jobkit.embedded.binary import find_binary
from jobkit.embedded.guard import die_with_parent
from tests.conftest import debian_redis

PATIENCE = 15.0
"""Seconds after which a test gives up waiting for what should take one."""
PASSWORD = "of/the@master"  # noqa: S105 - it lives as long as the test
SENTINEL_PASSWORD = "of:the?sentinel"  # noqa: S105 - as above
SERVICE = "jobs"


def free_port() -> int:
    """A port of this host that is free now, outside of the range from which outgoing connections take theirs."""
    while True:
        port = random.randrange(15_000, 30_000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """One process of the server's program; `config` is its file."""

    def __init__(self, folder: Path, config: str, *, sentinel: bool = False) -> None:
        self.folder = folder
        self._config = folder / "conf"
        self._config.write_text(f"dir {folder}\n{config}")
        self._arguments = ["--sentinel"] if sentinel else []
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()
        self._lines: list[str] = []
        self._said = threading.Condition()

    def start(self) -> None:
        program = debian_redis() if os.environ.get("TEST_SERVER") == "redis" else find_binary()
        process = subprocess.Popen(
            [program, self._config, *self._arguments],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - async-signal-safe
        )
        self._process = process
        self._lines = []
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        self.wait_for("+monitor" if self._arguments else "eady to accept connections")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()

    def wait_for(self, text: str) -> str:
        """Its first log line with this text, since its start."""

        def found() -> str | None:
            return next((line for line in self._lines if text in line), None)

        with self._said:
            line = self._said.wait_for(found, PATIENCE)
        assert line, (text, "".join(self._lines))
        return line

    def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            self._reader.join()
            assert process.stdout
            process.stdout.close()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)


def lone_server(folder: Path, config: str = "") -> Server:
    """A server on a unix socket that keeps what it acknowledges."""
    own = f'port 0\nunixsocket {folder}/s\nsave ""\nappendonly yes\nappendfsync always\n'
    return Server(folder, own + config)


class Watched:
    """A master with a replica, and a Sentinel that watches them; all ask for passwords."""

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port() for _ in range(3)]
        first, second, third = self.ports
        common = (
            'bind 127.0.0.1\nsave ""\nappendonly no\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n'
            f"maxmemory-policy noeviction\nrequirepass {PASSWORD}\nmasterauth {PASSWORD}\n"
        )
        for name in "123":
            (folder / name).mkdir()
        self.master = Server(folder / "1", f"port {first}\n{common}")
        self.replica = Server(folder / "2", f"port {second}\n{common}replicaof 127.0.0.1 {first}\n")
        self.sentinel = Server(
            folder / "3",
            f"port {third}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {first} 1\nsentinel auth-pass {SERVICE} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {SERVICE} 400\nsentinel failover-timeout {SERVICE} 4000\n",
            sentinel=True,
        )

    def url(self, service: str = SERVICE, *, sentinel_password: str = SENTINEL_PASSWORD) -> str:
        """The URL; its first Sentinel is away."""
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{self.ports[2]}"
        options = f"sentinel_password={quote(sentinel_password, safe='')}&socket_timeout=2"
        return f"redis+sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{service}/0?{options}"

    def start(self) -> None:
        """Start all three; returns when the Sentinel could promote the replica."""
        self.master.start()
        self.replica.start()
        self.replica.wait_for("Finished with success")
        self.sentinel.start()
        with self.to_sentinel() as asked:
            # Its timers are made for networks; a machine that is busy must not make it distrust its own clock.
            fast = ("INFO-PERIOD", 100, "PING-PERIOD", 100, "PUBLISH-PERIOD", 200, "TILT-TRIGGER", 60_000)
            asked.execute_command("SENTINEL", "DEBUG", *fast)
            end = time.monotonic() + PATIENCE
            while not self._sees_replica(asked):
                assert time.monotonic() < end, "the Sentinel does not see the replica"

    def _sees_replica(self, asked: redis.Redis) -> bool:
        rows = asked.execute_command("SENTINEL", "REPLICAS", SERVICE)
        found = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
        return [each[b"flags"] for each in found] == [b"slave"] and found[0][b"master-link-status"] == b"ok"

    def to_sentinel(self) -> redis.Redis:
        return redis.Redis(port=self.ports[2], password=SENTINEL_PASSWORD, single_connection_client=True, protocol=2)

    def to(self, number: int) -> redis.Redis:
        """A client of the server that began as master (0) or as replica (1)."""
        return redis.Redis(port=self.ports[number], password=PASSWORD, single_connection_client=True, protocol=2)

    def await_replica(self) -> None:
        """Return when the replica has what the master has acknowledged so far."""
        with self.to(0) as master:
            master.set("mark", 1)
            assert master.wait(1, int(PATIENCE * 1000)) == 1

    def close(self) -> None:
        for each in (self.sentinel, self.replica, self.master):
            each.kill()


def eventually(found: Callable[[], bool]) -> None:
    """Ask a server until it says so: for what no signal tells."""
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end
