"""Several processes, one server, and what a kill -9 of any of them leaves behind."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobkit.embedded import EmbeddedServer

Make = Callable[..., Any]


def kill(pid: int) -> None:
    """Kill as the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)


def test_racing_processes_get_one_server(user: Make) -> None:
    """Eight processes that start at once share one server."""
    users = [user() for _ in range(8)]
    for one in users:
        one.tell("acquire")
    assert len({one.hear() for one in users}) == 1


def test_the_last_to_leave_stops_it(user: Make, watch: Make, guard_of: Make) -> None:
    """The server outlives its starter while another uses it, and ends with the last."""
    starter, other = user().acquire(), user().acquire()
    server, guard = watch(starter.server), watch(guard_of(starter.server))
    starter.close()
    assert other.ask("ping") == "PONG"
    assert not server.ended(within=0)
    other.close()
    assert server.ended()
    assert guard.ended()


def test_release_waits_for_the_end(tmp_path: Path, watch: Make, pid_of: Make) -> None:
    """When the last release returns the server has ended, its data written."""
    with EmbeddedServer.acquire(tmp_path) as first, EmbeddedServer.acquire(tmp_path) as second:
        server = watch(pid_of(first.url))
        second.release()
        assert not server.ended(within=0)
    assert server.ended(within=0)
    first.release()


def test_an_orderly_end_keeps_data(user: Make) -> None:
    """What was written before the last user left is there for the next."""
    first = user().acquire()
    first.ask("set greeting hello")
    first.close()
    assert user().acquire().ask("get greeting") == "hello"


def test_killed_users_leave_no_orphan(user: Make, watch: Make, guard_of: Make) -> None:
    """A kill -9 of every user ends the server and its guard, and loses nothing."""
    users = [user().acquire(), user().acquire()]
    server, guard = watch(users[0].server), watch(guard_of(users[0].server))
    users[0].ask("set greeting hello")
    for one in users:
        one.kill()
    assert server.ended()
    assert guard.ended()
    assert user().acquire().ask("get greeting") == "hello"


def test_a_killed_server_is_started_again(user: Make, watch: Make) -> None:
    """A kill -9 of the server costs its users a reconnection, and no data."""
    one = user().acquire()
    one.ask("set greeting hello")
    server = watch(one.server)
    kill(server.pid)
    assert server.ended()
    newcomer = user().acquire()  # returns when the server answers again
    assert newcomer.server != server.pid
    assert one.ask("get greeting") == "hello"


def test_a_killed_guard_is_replaced(user: Make, watch: Make, guard_of: Make) -> None:
    """A kill -9 of the guard ends the server; a user starts the next guard, and no data is lost."""
    one = user().acquire()
    one.ask("set greeting hello")
    server, guard = watch(one.server), watch(guard_of(one.server))
    kill(guard.pid)
    assert guard.ended()
    assert server.ended()
    newcomer = user().acquire()  # returns when the server answers again, whoever started it
    assert one.ask("get greeting") == "hello"
    heir = watch(newcomer.server)
    newcomer.close()
    assert one.ask("ping") == "PONG"
    one.close()
    assert heir.ended()


def test_every_process_killed(user: Make, watch: Make, guard_of: Make) -> None:
    """A kill -9 of all processes at once leaves none, and no acknowledged write is lost."""
    users = [user().acquire() for _ in range(3)]
    for number in range(100):
        assert users[number % 3].ask(f"rpush numbers {number}") == str(number + 1)
    guard, server = watch(guard_of(users[0].server)), watch(users[0].server)
    for pid in (guard.pid, server.pid):
        kill(pid)
    for one in users:
        one.kill()
    assert guard.ended()
    assert server.ended()
    assert user().acquire().ask("lrange numbers 0 -1") == " ".join(map(str, range(100)))


def test_no_orphan_where_the_kernel_ties_no_child(user: Make, watch: Make, guard_of: Make) -> None:
    """Without the kernel's help (macOS) the server still ends when its guard and users are killed."""
    one = user("--no-kernel-tie").acquire()
    one.ask("set greeting hello")
    server, guard = watch(one.server), guard_of(one.server)
    kill(one.pid)
    kill(guard)
    assert server.ended()
    after = user("--no-kernel-tie").acquire()
    assert after.ask("get greeting") == "hello"
    server = watch(after.server)
    after.close()
    assert server.ended()


def test_a_forked_child_changes_nothing(user: Make) -> None:
    """Neither the end of a forked child nor its release stops the parent's server."""
    parent = user().acquire()
    for line in ("fork", "fork release"):
        assert parent.ask(line) == "waited"
        assert parent.ask("ping") == "PONG"
    assert parent.server == user().acquire().server


def test_coming_while_another_leaves(user: Make) -> None:
    """A process that comes while the server stops gets the next one, with everything written before."""
    users = [user() for _ in range(4)]
    rounds = 4
    for _ in range(rounds):
        for one in users:
            one.tell("acquire")
            one.tell("incr visits")
            one.tell("release")
        for one in users:
            assert int(one.hear()) > 0
            assert int(one.hear()) > 0
            assert one.hear() == "released"
    assert user().acquire().ask("get visits") == str(rounds * len(users))


def test_the_guard_is_nobodys_child(user: Make, guard_of: Make) -> None:
    """The guard has a session of its own: an interrupt at the starter's terminal does not reach it."""
    one = user().acquire()
    guard = guard_of(one.server)
    assert os.getsid(guard) not in {os.getsid(0), os.getsid(one.pid)}
    for process in (guard, one.server):
        os.kill(process, signal.SIGINT)
