import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from jobkit import JobKit
from tests.cli.conftest import Jobkit
from tests.kit.app import NEVER_LONG, Add, Note

NOTHING_LISTENS = "unix:///nonexistent/socket"


def run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "jobkit", *words], env=env, capture_output=True, text=True, check=False, timeout=30
    )


def in_terminal(env: dict[str, str], columns: int, *words: str) -> list[str]:
    """Run the command in a terminal of so many columns, and give what that shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen([sys.executable, "-m", "jobkit", *words], env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    read = b""
    try:
        while chunk := os.read(ours, 4096):
            read += chunk
    except OSError:  # Linux's way to say that the other side has closed
        pass
    os.close(ours)
    assert process.wait(NEVER_LONG) == 0, read
    return re.sub(r"\x1b\[[0-9;]*m", "", read.decode()).splitlines()


@pytest.mark.parametrize("columns", [80, 140])
def test_jobs_in_a_terminal(process_environment: dict[str, str], kit: JobKit, columns: int) -> None:
    """At 80 and 140 columns no line is broken, ids are whole, and no title is cut."""
    ids = [each.id for each in kit.enqueue_many([Note(), Add(numbers=[1])])]
    ids.append(kit.enqueue(Note(), delay=3600, tags={"tenant": "a tenant with a long name", "region": "eu"}).id)
    head, *lines = in_terminal(process_environment, columns, "jobs", "ls")
    assert sorted(line.split()[0] for line in lines) == sorted(ids)
    assert max(map(len, (head, *lines))) <= columns
    assert "…" not in head


def test_queues_in_a_terminal(process_environment: dict[str, str]) -> None:
    """All states of all queues fit a narrow terminal, under short titles of which none is cut."""
    head, *lines = in_terminal(process_environment, 64, "queues", "ls")
    assert len(head) <= 64
    assert head.split() == ["queue", "queued", "run", "sched", "defer", "done", "failed", "cancel", "work"]
    assert [line.split() for line in lines] == [["sums", *"00000000"], ["notes", *"00000000"]]


def test_exit_codes(process_environment: dict[str, str], kit: JobKit) -> None:
    """0 done, 1 failed, 2 wrong usage, from `python -m jobkit` as well."""
    done = run(process_environment, "enqueue", "notes.keep")
    assert (done.returncode, kit.handle(done.stdout.strip()).status().state) == (0, "queued")
    assert run(process_environment, "jobs", "show", "never-was").returncode == 1
    assert run(process_environment, "jobs", "show").returncode == 2


@pytest.mark.parametrize(
    "words", [["queues", "ls"], ["jobs", "ls"], ["enqueue", "notes.keep"], ["worker"]], ids=" ".join
)
def test_no_server(jobkit: Jobkit, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Without a server every command says so in one line, with 1."""
    monkeypatch.setenv("JOBKIT_REDIS_URL", NOTHING_LISTENS)
    result = jobkit(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "Check that the server runs and that JOBKIT_REDIS_URL names it" in line


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("JOBKIT_REDIS_URL", "https://eu1-fine.upstash.io", "got an https:// URL"),
        ("JOBKIT_REDIS_ULR", "redis://localhost", "did you mean 'JOBKIT_REDIS_URL'?"),
        ("JOBKIT_QUEUES__SUMS__CONCURRENCY", "0", "greater than or equal to 1"),
    ],
)
def test_wrong_settings(jobkit: Jobkit, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str) -> None:
    """A variable that is wrong or unknown is told in one line, with 2."""
    monkeypatch.setenv(variable, value)
    result = jobkit("queues", "ls")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert told in line


def test_worker_serves_until_it_is_stopped(process_environment: dict[str, str], kit: JobKit) -> None:
    """A worker process runs the app's jobs, and ends with 0 at SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobkit", "worker"],
        env=process_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert kit.enqueue(Add(numbers=[2, 3])).result(timeout=NEVER_LONG).total == 5
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=NEVER_LONG)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log
    assert '"worker started"' in log


def test_worker_of_an_unknown_queue(jobkit: Jobkit) -> None:
    """A queue that the app does not declare is told with the nearest, with 2."""
    result = jobkit("worker", "note")
    assert result.exit_code == 2
    assert "unknown queue 'note'; did you mean 'notes'?" in result.stderr


def test_interrupted_wait(process_environment: dict[str, str], kit: JobKit) -> None:
    """Ctrl-C ends a wait without a traceback, with 1; the job stays."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobkit", "enqueue", "notes.keep", "--wait", "60"],
        env=process_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    job_id = process.stderr.readline().strip()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=NEVER_LONG)
    assert (process.returncode, told.strip()) == (1, "Aborted!")
    assert kit.handle(job_id).status().state == "queued"


@pytest.mark.parametrize(
    "words",
    [
        [],
        *([each] for each in ("worker", "enqueue", "jobs", "queues", "demo")),
        *(["jobs", each] for each in ("ls", "show", "retry", "cancel")),
        ["queues", "ls"],
    ],
    ids=" ".join,
)
def test_help_reads_well(words: list[str]) -> None:
    """Every help text fits 80 columns and names each command in a whole sentence."""
    from click.testing import CliRunner

    from jobkit.cli import main

    result = CliRunner().invoke(main, [*words, "--help"], prog_name="jobkit", terminal_width=80)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    assert "..." not in result.output.partition("Commands:")[2]


def test_version(jobkit: Jobkit) -> None:
    """The command says its version."""
    assert jobkit("--version").stdout.startswith("jobkit, version ")


def test_help_loads_little() -> None:
    """`jobkit --help` loads no Redis client, and no app."""
    code = (
        "import sys, jobkit.cli; sys.exit(any(each in sys.modules for each in ('redis', 'rq', 'pydantic', 'asyncio')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
