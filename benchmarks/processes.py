"""Processes and their children: their CPU time and memory, from /proc; a worker that ends when it is told to."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

TICK: Final = os.sysconf("SC_CLK_TCK")
PATIENCE: Final = 3.0
"""Seconds that a worker gets to end by itself."""


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _numbers() -> Iterator[int]:
    return (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())


def tree(root: int) -> list[int]:
    """Give the living processes at and below one."""
    parents = {}
    for pid in _numbers():
        with contextlib.suppress(OSError, IndexError):
            parents[pid] = int(_stat(pid)[1])
    members = [root] if root in parents else []
    for pid in members:
        members.extend(child for child, parent in parents.items() if parent == pid)
    return members


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time, with that of children already waited for."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(int(value) for value in _stat(pid)[11:15])
    return ticks / TICK


def run_seconds(pid: int) -> float:
    """CPU time of a process's living threads, to the nanosecond; 0 where the kernel does not say."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(task.read_text().split()[0])
    return total / 1e9


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory, each shared page counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def machine_seconds() -> float:
    """CPU seconds of the whole machine, with what its host took away."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


class Worker:
    """A worker and all it starts, in a session of its own; what it says goes to a file."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str], log: Path) -> None:
        self._log = log.open("wb")
        self.log = log
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def pids(self) -> list[int]:
        """Give its processes."""
        return tree(self.pid)

    def alive(self) -> bool:
        """Say whether it runs."""
        return self._process.poll() is None

    def told(self) -> str:
        """Give the end of what it said."""
        return self.log.read_text(errors="replace")

    def ask_to_stop(self) -> None:
        """Have it end, without waiting for that."""
        if self.alive():
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Have it end, and kill what of its session is left."""
        members = self.pids()
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
