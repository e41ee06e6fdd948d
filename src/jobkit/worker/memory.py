"""How much memory a process has taken at most: its own, or another's where the system tells."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Final

MIB: Final = 2**20
_UNIT: Final = 1 if sys.platform == "darwin" else 1024


def own_peak() -> int:
    """The largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def peak_of(pid: int) -> int | None:
    """The largest resident size of a process so far, in bytes; None where there is no /proc, or no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def told(peak: int | None) -> str:
    """The words for a peak."""
    return "unknown" if peak is None else f"{peak / MIB:,.0f} MiB"
