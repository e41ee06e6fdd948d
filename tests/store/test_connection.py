"""Which servers and clients are taken, and what trouble is called."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import redis
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobkit.errors import ConfigurationError, StoreFull, StoreUnavailable, UnsuitableServer
from jobkit.store import Store, operations
from jobkit.store.keys import Keys
from jobkit.store.trouble import explain
from tests.store.world import World


def test_good_server(world: World) -> None:
    """The embedded server and Debian's Redis are taken, in production too."""
    world.store.check("production")


def test_decoding_client_is_refused() -> None:
    """A client that decodes replies would never run a job; it is refused with the remedy."""
    with pytest.raises(UnsuitableServer, match="decode_responses=True"):
        Store(redis.Redis(decode_responses=True))


def test_decoding_url_is_refused() -> None:
    """So is a URL that asks for decoded replies."""
    with pytest.raises(UnsuitableServer, match="decode_responses cannot be taken"):
        Store.open("redis://localhost?decode_responses=True")


def test_cluster_client_is_refused() -> None:
    """A cluster client is refused with the reason."""
    with pytest.raises(UnsuitableServer, match="Redis Cluster"):
        Store(redis.RedisCluster.__new__(redis.RedisCluster))  # type: ignore[arg-type] # no cluster is at hand


def answering(info: dict[str, object]) -> Store:
    """A store whose server describes itself so."""
    client = redis.Redis()
    client.info = lambda *_: info  # type: ignore[method-assign]
    return Store(client)


GOOD = {"redis_version": "7.0.15", "cluster_enabled": 0, "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"redis_version": "6.0.16"}, "Redis 6.2 or later, or Valkey 7.2 or later, got 6.0.16"),
        ({"redis_version": "5.0"}, "got 5.0"),
        ({"cluster_enabled": 1}, "Redis Cluster"),
        ({"maxmemory_policy": "allkeys-lru"}, "expected maxmemory-policy noeviction, got allkeys-lru"),
    ],
)
def test_unsuitable_server(change: dict[str, object], told: str) -> None:
    """A server that cannot keep the promises is refused with what was expected, what came and what to do."""
    with pytest.raises(UnsuitableServer, match=told):
        answering(GOOD | change).check("production")


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.0.1", "7.2.4"])
def test_suitable_versions(version: str) -> None:
    """Redis from 6.2 on is taken."""
    answering(GOOD | {"redis_version": version}).check("production")


def test_eviction_outside_production(world: World) -> None:
    """A server that evicts is refused in production only."""
    world.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        world.store.check("local")
        with pytest.raises(UnsuitableServer, match="this server deletes jobs when it is full"):
            world.store.check("production")
    finally:
        world.redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com", "begins with one of redis://, rediss://, unix://, .*got 'https'"),
        ("localhost:6379", "got no scheme"),
        ("", "got no scheme"),
        ("redis://localhost:port", "expected host:port"),
        ("rediss://localhost?ssl_cert_reqs=maybe", "expected a URL that redis-py takes: .*maybe"),
    ],
)
def test_bad_url(url: str, told: str) -> None:
    """What is no Redis URL is refused with what was expected."""
    with pytest.raises(UnsuitableServer, match=told):
        Store.open(url)


def test_timeout_of_the_url() -> None:
    """A timeout in the URL is the store's, on threads and on event loops."""
    store = Store.open("redis://localhost?socket_timeout=7.5")
    assert store.socket_timeout == 7.5
    assert store.make_connection().socket_timeout == 7.5
    assert store._async_pool()[0].connection_kwargs["socket_timeout"] == 7.5


def test_connections_are_not_used_up(world: World) -> None:
    """A worker that reconnects for hours does not run out of connections."""
    world.store.client.connection_pool.max_connections = 3
    for _ in range(10):
        connection = world.store.make_connection()
        connection.connect()
        connection.disconnect()
    world.store.check()


def test_demoted_server(world: World) -> None:
    """A server that has become a replica is unavailable, and asked again over new connections: it may be another."""

    async def on_a_loop() -> None:
        try:
            await world.store.arun(operations.enqueue(world.store.keys, [world.new("j")]))
        finally:
            await world.store.aclose()

    before = world.store.client.client_id()
    world.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="it is a replica"):
            world.enqueue("j")
        with pytest.raises(StoreUnavailable, match="it is a replica"):
            asyncio.run(on_a_loop())
        with pytest.raises(StoreUnavailable, match="it is a replica"):
            world.channel.claim({"a": 1}, block=0)
    finally:
        world.redis.execute_command("REPLICAOF", "NO", "ONE")
    assert world.store.client.client_id() > before
    assert world.enqueue("j") == [True]
    assert [claimed.id for claimed in world.channel.claim({"a": 1}, block=0).claimed] == ["j"]


def closed_port() -> int:
    """A port of this host where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_server_down() -> None:
    """With nobody there each call says what to check, blocking or on an event loop."""
    told = "Check that the server runs and that JOBKIT_REDIS_URL names it"
    for url in (f"redis://127.0.0.1:{closed_port()}/0", "unix:///nonexistent/s"):
        store = Store.open(url)
        operation = operations.origin(store.keys, "j")
        with pytest.raises(StoreUnavailable, match=told):
            store.check()
        with pytest.raises(StoreUnavailable, match=told):
            store.run(operation)
        with pytest.raises(StoreUnavailable, match=told):
            asyncio.run(store.arun(operation))


def test_silent_server() -> None:
    """A server that accepts and never answers is unavailable after the socket timeout."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        store = Store.open(f"redis://127.0.0.1:{listener.getsockname()[1]}", socket_timeout=0.05)
        with pytest.raises(StoreUnavailable):
            store.run(operations.origin(store.keys, "j"))
        store.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError("x"), StoreFull),
        (ResponseError("Error running script: @user_script:5: -OOM command not allowed when used memory"), StoreFull),
        (RedisConnectionError("x"), StoreUnavailable),
        (RedisTimeoutError("x"), StoreUnavailable),
        (BusyLoadingError("x"), StoreUnavailable),
        (ReadOnlyError("x"), StoreUnavailable),
        (OSError("x"), StoreUnavailable),
        (ResponseError("NOPERM this user has no permissions"), StoreUnavailable),
        (ResponseError("WRONGTYPE Operation against a key"), UnsuitableServer),
        (ResponseError("BUSYGROUP Consumer Group name already exists"), UnsuitableServer),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots, but"), StoreUnavailable),
        (
            ResponseError("Error running script: @user_script:5: -MISCONF Errors writing to the AOF file"),
            StoreUnavailable,
        ),
        (ResponseError("Error running script: @user_script:5: -READONLY You can't write"), StoreUnavailable),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), StoreUnavailable),
        (NoPermissionError("User worker has no permissions to run the 'evalsha' command"), StoreUnavailable),
        (ResponseError("NOAUTH Authentication required."), StoreUnavailable),
        (ResponseError("MASTERDOWN Link with MASTER is down"), StoreUnavailable),
        (ResponseError("BUSY Redis is busy running a script."), StoreUnavailable),
        (ResponseError("UNBLOCKED force unblock from blocking operation"), StoreUnavailable),
    ],
)
def test_names_of_trouble(error: Exception, expected: type[Exception]) -> None:
    """Each kind of trouble has its jobkit error, which names the call."""
    found = explain(error, "enqueue")
    assert type(found) is expected
    assert str(found).startswith("enqueue: ")


def test_a_client_of_ones_own(world: World) -> None:
    """A store on a ready client works like one on a URL, blocking and on an event loop."""
    client = redis.Redis.from_url(world.url, protocol=3)
    store = Store(client)
    made = operations.enqueue(store.keys, [world.new("j")])

    async def on_a_loop() -> str | None:
        found = await store.arun(operations.origin(store.keys, "j"))
        await store.aclose()
        return found

    assert store.run(made) == [True]
    assert asyncio.run(on_a_loop()) == "a"
    assert store.run(operations.attempts(store.keys, "j")) == []
    store.close()


@pytest.mark.parametrize("prefix", ["rq", "acme", "{acme}", "a.b-c_d:e"])
def test_prefix(prefix: str) -> None:
    """RQ's prefix is ours; each key of a queue begins with it."""
    keys = Keys.from_environment({"RQ_KEY_PREFIX": prefix})
    assert keys.prefix == prefix
    assert all(name.startswith(f"{prefix}:") for name in [*keys.head, *keys.block("q"), keys.job("j"), keys.specs])


@pytest.mark.parametrize("prefix", ["", "a b", "a*"])
def test_bad_prefix(prefix: str) -> None:
    """A prefix that RQ refuses is refused."""
    with pytest.raises(ConfigurationError, match="RQ_KEY_PREFIX"):
        Keys.from_environment({"RQ_KEY_PREFIX": prefix})


@pytest.mark.parametrize("prefix", ["acme", "{acme}:x"])
def test_another_prefix_end_to_end(world: World, prefix: str) -> None:
    """Under another prefix every key is under it, through a job's whole life."""
    world.store.keys = Keys(prefix)
    world.enqueue("x", "y", world.new("z", delay_ms=60_000))
    x, y = world.claim()
    world.claims.renew([x, y])
    world.claims.save_step(x, "s", b"1")
    world.finish(x, follow_ups=(world.new("f", queue="b"),))
    world.fail(y)
    world.cancel("z")
    world.sweeps.publish(world.rules)
    world.sweeps.sweep()
    assert [key for key in world.all_keys() if not key.startswith(f"{prefix}:")] == []
    assert world.inspection.queue_names() == ["a", "b"]


CALLS: list[Callable[[World], object]] = [
    lambda world: operations.read(world.store.keys, "j"),
    lambda world: operations.attempts(world.store.keys, "j"),
    lambda world: operations.origin(world.store.keys, "j"),
    lambda world: operations.cancel(world.store.keys, "j", "a", reason="x", keep=1),
    lambda world: operations.retry(world.store.keys, "j", "a"),
    lambda world: operations.entries_after(world.store.keys, "j", "0-0", block_ms=1),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_async_twins(world: World, number: int) -> None:
    """Every operation of a client gives the same on an event loop as without one."""
    world.enqueue("j")
    call: object = CALLS[number](world)

    async def on_a_loop() -> object:
        found = await world.store.arun(call)
        await world.store.aclose()
        return found

    found = asyncio.run(on_a_loop())
    if number not in {3, 4}:
        assert found == world.store.run(call)
