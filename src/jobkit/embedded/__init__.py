"""A server for one machine: `embedded://[path]`, shared by every process that opens the same path.

The protocol, in the order in which things happen:

1. A **user** (a process that acquires the server) takes `lock` (flock), for as long as steps 2 and 3 last.
2. It connects to `guard.sock`. The connection is its vote for the server: the kernel closes it when the process ends,
   however that happens, so there is nothing to clean up after kill -9.
3. Where nobody answers, it binds `guard.sock` itself, connects, and starts a **guard** with the listening socket: the
   vote is in the backlog before the guard runs, so a guard never waits for a first user.
4. The guard (`guard.py`, a session of its own, child of no user) takes `server.lock` and starts the **server**, which
   inherits that lock. The lock is thus held exactly while a server lives: two never write one append-only file.
   The kernel ends the server when its guard dies (Linux; elsewhere a shell does, which waits on a pipe).
5. It answers `ready` to every user once the server answers PING with its data loaded, or `failed` and the reason.
6. When the last connection closes the guard closes `guard.sock`, stops the server by SIGTERM, waits for its end, and
   ends; only then it closes the last user's connection, so that `release()` returns when the data is on disk. A
   newcomer in between is turned away, starts a guard, and that one waits for `server.lock`.

What a kill -9 does: of a user, its vote is gone. Of the server, the guard starts it again on the same data and socket.
Of the guard, the server stops by itself and a thread in each user, which waits on the vote's connection, starts the
next guard. Nothing is left behind in any case. Acknowledged writes are in the file's page cache, which outlives the
processes; a power failure, or a kill of the server while its disk is slow to sync, may cost the last second.

A forked child shares its parent's connection: its end changes nothing while the parent lives, and its `release()` does
no more than close its copy.
"""

from jobkit.embedded.binary import find_binary
from jobkit.embedded.folder import embedded_path
from jobkit.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "embedded_path", "find_binary"]
