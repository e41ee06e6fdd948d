"""The process that owns the embedded server: starts it, mends it, stops it when its last user is gone.

Run as a program of its own, isolated (`python -I -S guard.py PLAN`), so it imports the standard library only. The
protocol between guard, server and users is at the head of `jobkit.embedded`.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TUNABLES = "glibc.malloc.tcache_max=16384"
"""The server writes each result through a stream, which takes 4 KB for a moment. The bundled one uses glibc's malloc,
whose fast path ends at 1 KB unless it is told otherwise: a tenth of the time of a job."""
START_PAUSE = 1.0
"""Least seconds between two starts of the server, so that one which keeps falling does not spin."""
STOP_TIMEOUT = 60.0
"""Seconds that the server may take to write its last bytes before it is killed."""
LOCK_TIMEOUT = 60.0
"""Seconds to wait for an earlier server on the same data to end."""
READY_POLL = 0.01
"""Seconds between two PINGs to a server that is starting: it has no way to call us."""

# Nothing listens on TCP. The file of writes holds commands only, no snapshot, so that whichever of Valkey and Redis is
# installed tomorrow can read it. The listpack option has its older name here, which every version knows.
CONFIG = """\
port 0
unixsocket {socket}
unixsocketperm 600
dir {folder}
appendonly yes
appendfsync everysec
aof-use-rdb-preamble no
save ""
maxmemory-policy noeviction
hash-max-ziplist-value 512
daemonize no
"""


def die_with_parent(parent: int) -> Callable[[], None]:
    """Make what a child runs before its program, so that the kernel ends it (SIGTERM) when its parent is gone.

    Linux only; elsewhere it does nothing. The parent is the thread that starts the child.
    """
    # Loaded here: between fork and exec nothing may be looked up.
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "prctl"):
        return lambda: None
    prctl = libc.prctl

    def arrange() -> None:
        prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return arrange


def quoted(path: Path) -> str:
    """Quote a path as the server's configuration wants it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def say(text: str) -> None:
    """Write to the log, which the starter opened as our output."""
    print(f"guard {os.getpid()}: {text}", flush=True)  # noqa: T201 - the log is our output


class Failed(Exception):
    """The server cannot run; the message is for the users."""


class Server:
    """The server's process, its lock on the data, and what ends it should the guard be killed."""

    def __init__(self, program: Path, folder: Path, socket_path: Path, *, kernel_tie: bool) -> None:
        self.program = program
        self.folder = folder
        self.socket_path = socket_path
        self.kernel_tie = kernel_tie
        self.process: subprocess.Popen[bytes] | None = None
        self.watcher: subprocess.Popen[bytes] | None = None
        self.started = float("-inf")
        self.log_start = 0
        self.lock = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take_data(self) -> None:
        """Wait until no earlier server writes this data.

        Each server inherits the lock, so it is held exactly as long as one lives, whatever became of its guard.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Failed(
                        f"another server has held {self.folder} for {LOCK_TIMEOUT:.0f} s without serving it; "
                        "find it (ps -ef | grep server) and stop it with SIGTERM"
                    ) from None
                time.sleep(READY_POLL)
            else:
                return

    def start(self) -> None:
        """Start the server on the data that we hold."""
        time.sleep(max(0.0, self.started + START_PAUSE - time.monotonic()))
        self.started = time.monotonic()
        self.log_start = (self.folder / "server.log").stat().st_size
        config = self.folder / "server.conf"
        config.write_bytes(os.fsencode(CONFIG.format(socket=quoted(self.socket_path), folder=quoted(self.folder))))
        self.process = subprocess.Popen(  # noqa: S603 - the program that the starter found
            [self.program, config],
            stdin=subprocess.DEVNULL,
            env={"GLIBC_TUNABLES": TUNABLES, **os.environ},
            pass_fds=[self.lock],
            # One thread only here: what runs between fork and exec is safe, and the parent thread is the process.
            preexec_fn=die_with_parent(os.getpid()) if self.kernel_tie else None,  # noqa: PLW1509
        )
        if not self.kernel_tie:
            self._watch(self.process.pid)

    def _watch(self, pid: int) -> None:
        """Where the kernel does not tie a child to its parent: a shell that ends the server when our pipe closes."""
        self._unwatch()
        self.watcher = subprocess.Popen(  # noqa: S603 - a fixed command
            ["/bin/sh", "-c", 'read _; kill -TERM "$1"', "sh", str(pid)], stdin=subprocess.PIPE
        )

    def _unwatch(self) -> None:
        if self.watcher:
            self.watcher.kill()
            self.watcher.wait()
            if self.watcher.stdin:
                self.watcher.stdin.close()
            self.watcher = None

    def ended(self) -> bool:
        """Say whether the process is gone."""
        return self.process is None or self.process.poll() is not None

    def ready(self) -> bool:
        """Say whether the server answers, its data loaded."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def complaint(self) -> str:
        """Give what the server said since it was started."""
        with (self.folder / "server.log").open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")[-2000:].strip()

    def stop(self) -> None:
        """Have the server write what it holds, and wait for its end."""
        if self.process is not None and not self.ended():
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                say(f"the server did not stop within {STOP_TIMEOUT:.0f} s: killed")
                self.process.kill()
                self.process.wait()
        self._unwatch()


class Guard:
    """Counts the users by their connections, and keeps the server running while there is one."""

    def __init__(self, server: Server, listener: socket.socket) -> None:
        self.server = server
        self.listener = listener
        self.users: set[socket.socket] = set()
        self.leaving: list[socket.socket] = []
        self.ready = False
        self.told_to_stop = False
        # Signals wake the select; SIGTERM (the machine goes down) stops the server as the last user does.
        self.wakeup, self._waker = socket.socketpair()
        for end in (self.wakeup, self._waker):
            end.settimeout(0)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._on_child)
        signal.signal(signal.SIGTERM, self._on_term)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)

    def _on_child(self, *_: object) -> None:
        """Nothing more: a signal without a handler would not wake the select."""

    def _on_term(self, *_: object) -> None:
        self.told_to_stop = True

    def run(self) -> None:
        """Serve until the last user is gone."""
        try:
            self.server.take_data()
            self.server.start()
            # The starter's connection waits in the backlog from before we began, so there is a user to count.
            self._look(None)
            while self.users and not self.told_to_stop:
                self._attend()
                self._look(None if self.ready else READY_POLL)
        except Failed as error:
            say(str(error))
            self._look(0)
            self._tell(self.users, b"failed " + str(error).replace("\n", "\r").encode() + b"\n")
        finally:
            # From here on newcomers are turned away and start a guard of their own, which waits for the data's lock.
            self.listener.close()
            self.server.stop()

    def _attend(self) -> None:
        if self.server.ended():
            if not self.ready:
                raise Failed(f"the server ({self.server.program}) did not start:\n{self.server.complaint()}")
            say("the server ended without having been told to: starting it again")
            self.ready = False
            self.server.start()
        elif not self.ready and self.server.ready():
            self.ready = True
            self._tell(self.users, b"ready\n")

    def _look(self, timeout: float | None) -> None:
        """Wait for users who come or go, a signal, or the timeout (seconds; None: no limit)."""
        readable, _, _ = select.select([self.listener, self.wakeup, *self.users], [], [], timeout)
        for one in readable:
            if one is self.wakeup:
                self.wakeup.recv(4096)
            elif one is self.listener:
                user, _ = self.listener.accept()
                self.users.add(user)
                if self.ready and not self.server.ended():
                    self._tell([user], b"ready\n")
            else:
                self._leave(one)

    def _leave(self, user: socket.socket) -> None:
        self.users.discard(user)
        if self.users:
            user.close()
        else:
            # Held open until we end: the last to leave waits for the server's end, should it ask.
            self.leaving.append(user)

    def _tell(self, users: set[socket.socket] | list[socket.socket], message: bytes) -> None:
        for user in users:
            # One that is gone is found by the next look.
            with contextlib.suppress(OSError):
                user.sendall(message)


def main() -> None:
    """Leave the starter's session and guard what the plan says."""
    plan = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)  # the starter waits for this one only, and has no child that outlives its interest
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)  # payloads are nobody else's business
    listener = socket.socket(fileno=plan["listener"])
    server = Server(
        Path(plan["program"]), Path(plan["folder"]), Path(plan["socket"]), kernel_tie=bool(plan["kernel_tie"])
    )
    Guard(server, listener).run()


if __name__ == "__main__":
    main()
