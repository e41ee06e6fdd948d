"""Readiness and liveness by file, port and systemd."""

import http.client
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jobkit.cli import main
from jobkit.errors import ConfigurationError
from jobkit.worker import probe_port
from jobkit.worker.health import Health, health_of_one
from jobkit.worker.notify import Notifier
from jobkit.worker.plain_logs import PlainFormatter
from jobkit.worker.probe_port import Port
from jobkit.worker.probes import Beacons, Probes, address

WELL = health_of_one("claiming")
HUNG = Health(ready=False, live=False, stopping=False, reason="process 7 silent for 9 s")
DRAINING = health_of_one("draining")


def ask(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    """The status and the JSON of one probe."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if body else None


@pytest.fixture
def port() -> Iterator[Port]:
    """Give a port that answers."""
    with closing(Port("127.0.0.1", 0)) as port:
        yield port


def number(port: Port) -> int:
    """The number that the system gave it."""
    found: int = port._server.socket.getsockname()[1]
    return found


def test_one_process_shows_itself(running: Callable[..., Any], jobs: Any, folder: Path) -> None:
    """A single worker keeps its files, answers on its port and tells systemd, from its first claim to its drain."""
    ready, live = folder / "ready", folder / "live"
    ready.write_text("of a worker that was killed")
    files = ["--ready-file", str(ready), "--live-file", str(live)]
    worker = running(*files, "--probe-port", "0", WATCHDOG_USEC="200000")
    worker.systemd.wait_for("READY=1", "STATUS=the worker claims", "WATCHDOG=1")
    assert ready.read_text() == f"{worker.pid}\n"
    assert live.exists()
    port = worker.wait_for("probes are answered")["port"]
    assert ask(port, "/readyz") == (200, {"ready": True, "reason": "the worker claims"})
    [told] = jobs.enqueue("told")
    jobs.entered()
    worker.signal(signal.SIGTERM)
    worker.systemd.wait_for("STOPPING=1", "STATUS=the worker drains")
    assert ask(port, "/readyz") == (503, {"ready": False, "reason": "the worker drains"})
    assert ask(port, "/healthz")[0] == 200
    assert not ready.exists()
    jobs.redis.rpush("go", "go")
    assert worker.ended() == 0
    assert told.result() == worker.pid
    assert not live.exists()


def test_the_port_answers(port: Port) -> None:
    """/readyz and /healthz answer 200 or 503 with the reason; other paths 404; HEAD has no body."""
    assert ask(number(port), "/readyz") == (503, {"ready": False, "reason": "it starts"})
    port.show(WELL)
    assert ask(number(port), "/readyz?verbose=1") == (200, {"ready": True, "reason": "the worker claims"})
    assert ask(number(port), "/healthz") == (200, {"live": True, "reason": "the worker claims"})
    assert ask(number(port), "/healthz", "HEAD") == (200, None)
    assert ask(number(port), "/")[0] == 404
    port.show(HUNG)
    assert ask(number(port), "/healthz") == (503, {"live": False, "reason": "process 7 silent for 9 s"})


def test_old_news_is_no_sign_of_life(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose other threads hang for five seconds is neither ready nor live."""
    port.show(WELL)
    port._shown -= probe_port.STALE
    for path in ("/readyz", "/healthz"):
        status, said = ask(number(port), path)
        assert (status, said["reason"]) == (503, "silent for 5 s")


def test_a_broken_probe_is_no_trouble(port: Port) -> None:
    """A client that sends nonsense or leaves does not disturb the next."""
    with socket.create_connection(("127.0.0.1", number(port)), 10) as connection:
        connection.sendall(b"\x00\x01\r\n\r\n")
        assert connection.recv(4096)
    assert ask(number(port), "/healthz")[0] == 200


def test_files_follow_health(tmp_path: Path) -> None:
    """The ready file is there exactly while ready, whole and alone; the live file is touched only while live."""
    ready, live = tmp_path / "ready", tmp_path / "live"
    beacons = Beacons(Probes(str(ready), str(live)), {})
    beacons.show("starting")
    assert not ready.exists()
    beacons.show("claiming")
    assert ready.read_text() == f"{os.getpid()}\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["live", "ready"]
    os.utime(live, (1, 1))
    beacons.show_health(HUNG)
    assert live.stat().st_mtime == 1
    assert not ready.exists()
    beacons.show("waiting")
    assert live.stat().st_mtime > 1
    beacons.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files that cannot be written are a line in the log, not the worker's end."""
    folder = tmp_path / "run"
    folder.mkdir()
    beacons = Beacons(Probes(str(folder / "ready")), {})
    folder.rmdir()
    beacons.show("claiming")
    beacons.show("claiming")
    beacons.close()
    assert [each.message for each in caplog.records] == ["cannot write a probe's file"]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_what_is_new(abstract: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    """READY once, STATUS when it changes, WATCHDOG at half its time while live, STOPPING once; abstract sockets too."""
    folder = Path(os.path.relpath(tmp_path))
    name = f"@jobkit-{os.getpid()}" if abstract else str(folder / "s")
    now = 0.0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(0)

        def told(health: Health) -> list[str]:
            notifier.show(health)
            try:
                return manager.recv(4096).decode().splitlines()
            except BlockingIOError:
                return []

        given = name if abstract else str(tmp_path / "s")
        notifier = Notifier({"NOTIFY_SOCKET": given, "WATCHDOG_USEC": "4000000"}, now=lambda: now)
        assert told(health_of_one("starting")) == ["WATCHDOG=1", "STATUS=the worker starts"]
        assert told(WELL) == ["READY=1", "STATUS=the worker claims"]
        now = 1.9
        assert told(WELL) == []
        now = 2.0
        assert told(WELL) == ["WATCHDOG=1"]
        now = 9.0
        assert told(HUNG) == ["STATUS=process 7 silent for 9 s"]
        assert told(DRAINING) == ["STOPPING=1", "WATCHDOG=1", "STATUS=the worker drains"]
        notifier.close()
        assert told(DRAINING) == []


def test_no_systemd_is_told_nothing(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Without its variable nothing happens; a socket that is none or gone is told once; another's watchdog is its."""
    Notifier({}).show(WELL)
    Notifier({"NOTIFY_SOCKET": "vsock:2:1"}).show(WELL)
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "2", "WATCHDOG_PID": "1"})
    gone.show(WELL)
    gone.close()
    assert gone._every is None
    assert [each.message for each in caplog.records] == [
        "NOTIFY_SOCKET: expected a path or @name of a unix socket; nothing is told to systemd",
        "systemd cannot be told",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("80", ("127.0.0.1", 80)), ("0.0.0.0:8080", ("0.0.0.0", 8080)), ("[::1]:1", ("::1", 1))],  # noqa: S104 - text
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    """A port alone is on loopback."""
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "http", "localhost:", "80:x", "99999"])
def test_what_is_no_address(text: str) -> None:
    """Anything else is refused, with what was expected."""
    with pytest.raises(ConfigurationError, match="expected PORT or HOST:PORT"):
        address(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--probe-port", "http"], "--probe-port: expected PORT or HOST:PORT"),
        (["--ready-file", "/none/such/ready"], "--ready-file: expected a file in a folder that is there"),
        (["--live-file", "/"], "--live-file: expected a file, got the folder '/'"),
        (["--processes", "0"], "--processes"),
    ],
)
def test_wrong_options_exit_2(arguments: list[str], message: str) -> None:
    """Before anything is started."""
    result = CliRunner().invoke(main, ["worker", "--processes", "2", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_a_port_that_is_taken_exits_1(running: Callable[..., Any], port: Port) -> None:
    """It may be free later, so who starts the worker may try again."""
    worker = running("--probe-port", str(number(port)))
    assert worker.ended() == 1
    assert "the probes cannot be shown: [Errno" in worker.plain[-1]


def test_the_supervisor_s_log_is_like_the_workers() -> None:
    """JSON with event, level, logger, fields and time, or a line for people; a traceback with either."""
    record = logging.makeLogRecord(
        {"name": "jobkit.worker", "levelname": "INFO", "msg": "hello", "created": 0.5, "n": 1}
    )
    assert json.loads(PlainFormatter(as_json=True).format(record)) == {
        "event": "hello",
        "level": "info",
        "logger": "jobkit.worker",
        "n": 1,
        "timestamp": "1970-01-01T00:00:00.500000Z",
    }
    line = PlainFormatter(as_json=False).format(record)
    assert line == "1970-01-01T00:00:00.500000Z [info     ] hello                          [jobkit.worker] n=1"
    error = ValueError("why")
    record.exc_info = (ValueError, error, None)
    assert json.loads(PlainFormatter(as_json=True).format(record))["exception"] == "ValueError: why"
    assert PlainFormatter(as_json=False).format(record).endswith("n=1\nValueError: why")
