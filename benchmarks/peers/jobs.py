"""What the jobs of every system do, and what they carry: the same bytes, the same write.

A job appends one record of 24 bytes (value, start, end; seconds of the monotonic clock) to a file with one write. It is
all the measuring that a job does, below a microsecond, and looking at the file costs no server a command.
"""

import asyncio
import os
import struct
import time
from typing import Any, Final

URL: Final = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
CONCURRENCY: Final = int(os.environ.get("BENCH_CONCURRENCY", "10"))
QUEUE: Final = os.environ.get("BENCH_QUEUE", "bench")
QUEUES: Final = int(os.environ.get("BENCH_QUEUES", "1"))
"""How many queues, for the systems that can be asked for more than one."""
NOTE_BYTES: Final = int(os.environ.get("BENCH_NOTE_BYTES", "0"))
SLEEP: Final = 0.02
"""Seconds of a job that waits for something."""

RECORDS: Final = os.environ.get("BENCH_RECORDS", "")
FILE: Final = os.open(RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if RECORDS else -1
pack: Final = struct.Struct("<ddd").pack


def names() -> list[str]:
    """Give the names of the queues."""
    return [QUEUE] if QUEUES == 1 else [f"{QUEUE}-{number}" for number in range(QUEUES)]


def data(value: float) -> dict[str, Any]:
    """Give what a job carries, about 150 bytes of JSON unless more are asked for."""
    return {
        "v": value,
        "user": "u-104233",
        "event": "invoice.paid",
        "amount": 1299,
        "tags": ["billing", "eu"],
        "note": "n" * NOTE_BYTES or "thank you for your order, it is on its way",
    }


def record(value: float, start: float) -> float:
    """Write down that a job ran."""
    os.write(FILE, pack(value, start, time.monotonic()))
    return value


def noop(data: dict[str, Any]) -> float:
    """Do nothing."""
    return record(data["v"], time.monotonic())


def sleep(data: dict[str, Any]) -> float:
    """Wait in a thread."""
    start = time.monotonic()
    time.sleep(SLEEP)
    return record(data["v"], start)


async def async_noop(data: dict[str, Any]) -> float:
    """Do nothing, on an event loop."""
    return record(data["v"], time.monotonic())


async def async_sleep(data: dict[str, Any]) -> float:
    """Wait on an event loop."""
    start = time.monotonic()
    await asyncio.sleep(SLEEP)
    return record(data["v"], start)
