"""Where the embedded server keeps its data and its sockets."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jobkit.errors import ConfigurationError

SOCKET_BYTES = 103
"""Longest path of a unix socket: 104 bytes on macOS, 108 on Linux, with the closing zero."""


def embedded_path(url: str) -> str | None:
    """Read the path out of `embedded://[path]`: None where there is none, relative to the working directory.

    Raises ConfigurationError where the URL has another scheme or more than a path.
    """
    parts = urlsplit(url)
    if parts.scheme != "embedded" or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(
            "expected embedded:// and at most a folder (embedded:///var/lib/acme/jobs, embedded://data/jobs); "
            f"got {url!r}"
        )
    return unquote(parts.netloc + parts.path) or None


def data_folder(path: str | Path | None) -> Path:
    """Give the folder for the data, made if need be: the one asked for, or this user's own.

    The user's own is `$XDG_DATA_HOME/jobkit`, or else `~/.local/share/jobkit`; without HOME, a private folder among
    the temporary ones. Raises ConfigurationError where it cannot be made or written.
    """
    folder = _default_folder() if path is None else Path(path).expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve()
        writable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise unusable(folder, str(error)) from error
    if not writable:
        raise unusable(folder, "no permission to write there")
    return folder


def holds_sockets(folder: Path) -> bool:
    """Say whether the folder's path is short enough for sockets in it."""
    return len(os.fsencode(folder / "server.sock")) <= SOCKET_BYTES


def socket_folder(folder: Path) -> Path:
    """Give the folder for the sockets: the data's own, or a short private one where the path would be too long."""
    if holds_sockets(folder):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for root in (runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108 - the folder made in it is checked to be ours
        if root and os.access(root, os.W_OK) and len(os.fsencode(root)) <= SOCKET_BYTES - 50:
            return _private(_private(Path(root) / f"jobkit-{os.getuid()}") / digest)
    raise unusable(folder, f"a unix socket's path holds {SOCKET_BYTES} bytes, and no shorter folder can be written")


def unusable(folder: Path, why: str) -> ConfigurationError:
    """Make the error for a folder that cannot hold a server."""
    return ConfigurationError(
        f"embedded:// cannot use {folder}: {why}. Give a folder that this user may write: embedded:///path/to/folder"
    )


def _default_folder() -> Path:
    data_home, home = os.environ.get("XDG_DATA_HOME"), os.environ.get("HOME")
    if data_home and Path(data_home).is_absolute():
        return Path(data_home) / "jobkit"
    if home:
        return Path(home) / ".local" / "share" / "jobkit"
    return _private(Path(tempfile.gettempdir()) / f"jobkit-{os.getuid()}") / "data"


def _private(folder: Path) -> Path:
    """Make a folder that nobody else can enter; in a shared place someone may have been there first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"expected {folder} to be a folder of this user that nobody else may enter (mode 0700); got mode "
            f"{stat.S_IMODE(found.st_mode):04o} of user {found.st_uid}. Remove it, or give a short path to embedded://"
        )
    return folder
