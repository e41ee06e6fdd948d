"""The program that a supervisor is: isolated, of the standard library alone.

So it holds no connection, no thread but a probe's, and a quarter of a worker's memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from jobkit.worker.plain_logs import configure_plain_logging
from jobkit.worker.probes import Beacons, Probes
from jobkit.worker.supervisor import FAILED, Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("jobkit.worker")

BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from jobkit.worker.supervisor_program import main; main(sys.argv[2])"
)


class Plan(NamedTuple):
    """What to supervise.

    Attributes:
        processes: how many workers.
        command: starts one.
        probes: what shows their health.
        log_format: of the supervisor's own log: json, console, or auto.
        log_level: of the same.

    """

    processes: int
    command: Sequence[str]
    probes: Probes
    log_format: str
    log_level: str


def become(plan: Plan) -> NoReturn:
    """Make this process the supervisor; it keeps its id, and nothing else."""
    sys.stdout.flush()
    sys.stderr.flush()
    root = str(Path(__file__).resolve().parents[2])
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", BOOT, root, json.dumps(plan)])  # noqa: S606 - itself


def main(text: str) -> NoReturn:
    """Run what `become` passed on; exits with the code."""
    processes, command, probes, log_format, log_level = json.loads(text)
    configure_plain_logging(log_format, log_level)
    log.info("supervisor started", extra={"supervisor_pid": os.getpid(), "processes": processes})
    try:
        beacons = Beacons(Probes(*probes), os.environ)
    except OSError as error:
        log.critical("the probes cannot be shown", extra={"error": str(error)})
        sys.exit(FAILED)
    with contextlib.closing(beacons):
        code = Supervisor(processes, command, beacons, os.environ).run()
    sys.exit(code)
