"""A private server for one benchmark: on a unix socket, without persistence, gone with the benchmark."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobkit.embedded import find_binary

CONFIG = """\
port 0
unixsocket {folder}/s
dir {folder}
save ""
appendonly no
maxmemory-policy noeviction
hash-max-listpack-value 512
"""


@contextmanager
def private_server() -> Iterator[str]:
    """Start a server and give its URL; stop it by its process at the end."""
    folder = Path(tempfile.mkdtemp(prefix="jk-bench-"))
    server = subprocess.Popen([find_binary(), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin
    assert server.stdout
    try:
        server.stdin.write(CONFIG.format(folder=folder))
        server.stdin.close()
        for line in server.stdout:
            if "ready to accept connections" in line.lower():
                break
        yield f"unix://{folder}/s"
    finally:
        server.terminate()
        server.wait(timeout=10)
        server.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
