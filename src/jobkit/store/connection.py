"""Connections: which servers are taken, and how a call is made.

redis-py repeats a command whose reply was lost unless it is told not to; a repeated claim starts other jobs. So its
retries are off here, and each caller repeats only what it knows to be safe to repeat.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.connection
import redis.sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    MaxConnectionsError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from jobkit.addresses import Address, parse_address
from jobkit.errors import ConfigurationError, UnsuitableServer
from jobkit.store.keys import Keys
from jobkit.store.sentinel import AsyncSentinels, Sentinels, async_master_pool, master_pool
from jobkit.store.trouble import explain, refusal
from jobkit.store.watch import StreamWatch
from jobkit.store.wire import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.store.scripting import Script

T_co = TypeVar("T_co", covariant=True)

_OLDEST = (6, 2)
_OF_THREADS = 10_000
_ON_A_LOOP = 50
_CUT_OFF = (RedisConnectionError, OSError)


@attrs.frozen
class Operation(Generic[T_co]):
    """A call described but not made: a script or a command, and how its reply reads.

    Pure, so that the sync and the async client share every operation.
    """

    script: Script | None
    keys: Sequence[str]
    args: Sequence[Any]
    parse: Callable[[Any], T_co]

    def command(self, *, whole: bool = False) -> tuple[Any, ...]:
        """The words of the call; `whole` sends the script's text instead of its SHA."""
        if self.script is None:
            return tuple(self.args)
        if whole:
            return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.args)
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)


UNDECODABLE: Final = "backslashreplace"
"""How the bytes of a job id that is no UTF-8 are shown. Such a job cannot be addressed: it ends as poison."""


def client_options(url: str, socket_timeout: float) -> dict[str, Any]:
    """How every connection of ours is made: RESP2 with bytes, no retries behind our back.

    What the URL itself says about a connection comes on top, as redis-py has it.
    """
    over_network: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return over_network | {
        "protocol": 2,
        "decode_responses": False,
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": socket_timeout,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        # Each thread that waits for a result has one; redis-py would refuse the 101st.
        "max_connections": _OF_THREADS,
    }


class Store:
    """The door to one Redis: runs operations, blocking or on an event loop. Safe for threads.

    `socket_timeout` in seconds bounds every answer that is waited for.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        url: str | None = None,
        address: Address | None = None,
        sentinels: Sentinels | None = None,
        socket_timeout: float = 5.0,
    ) -> None:
        given: object = client
        if isinstance(given, redis.RedisCluster):
            raise UnsuitableServer(_NO_CLUSTER)
        kwargs = client.connection_pool.connection_kwargs
        if kwargs.get("decode_responses"):
            raise UnsuitableServer(
                "expected a redis client that answers bytes, got one with decode_responses=True; results and "
                "payloads are bytes: make it without that option, or give a URL"
            )
        if address is None and isinstance(client.connection_pool, redis.sentinel.SentinelConnectionPool):
            raise UnsuitableServer(
                "expected the URL of the Sentinels, redis+sentinel://host:26379/service, got a client that asks them: "
                "event loops need one of their own, which is made from the URL"
            )
        self.client = client
        self.url = url
        self._address = address
        self._sentinels = sentinels
        self.socket_timeout = socket_timeout
        self.keys = Keys.from_environment()
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClients] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, url: str, *, socket_timeout: float = 5.0) -> Store:
        """A store for a URL (see `jobkit.addresses`), which may set the timeout. Connects at the first call.

        Raises UnsuitableServer for a URL that names no server or asks for what cannot be.
        """
        try:
            address = parse_address(url)
            timeout = address.socket_timeout or socket_timeout
            options = client_options(address.url, timeout)
            sentinels = None
            if address.watched is None:
                client = redis.Redis.from_url(address.url, **options)
            else:
                options = of_master(address, options)
                sentinels = Sentinels(address.watched, options)
                client = redis.Redis.from_pool(master_pool(address.watched, sentinels, options))
            store = cls(client, url=url, address=address, sentinels=sentinels, socket_timeout=timeout)
            store.make_connection()  # not connected: redis-py looks at its options when it makes one
        except ConfigurationError as error:
            raise UnsuitableServer(str(error)) from None  # the cause's cause may show the URL
        except (ValueError, TypeError, RedisError) as error:
            raise UnsuitableServer(f"expected a URL that redis-py takes: {error}") from None
        return store

    def run(self, operation: Operation[T_co]) -> T_co:
        """Make the call; raises StoreUnavailable, StoreFull or UnsuitableServer.

        A connection that breaks is replaced and the call made once more: a repetition changes nothing (a repeated
        cancel or enqueue answers that it was done before). Batches of claims and finishes are no operations: see
        `channel`.
        """
        try:
            try:
                reply = self._execute(operation, whole=False)
            except NoScriptError:
                reply = self._execute(operation, whole=True)
        except (ResponseError, RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise explain(error, _what(operation)) from error
        return operation.parse(reply)

    def run_many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Read with many plain commands in one round trip; their replies. Raises as `run` does."""
        try:
            with self.client.pipeline(transaction=False) as pipeline:
                add: Callable[..., Any] = pipeline.execute_command
                for words in commands:
                    add(*words)
                return pipeline.execute()
        except (RedisError, OSError) as error:
            raise explain(error, "reading") from error

    def _execute(self, operation: Operation[Any], *, whole: bool) -> Any:
        words = operation.command(whole=whole)
        # A script's answer needs no reading by redis-py, whose way to it takes nearly as long as the script itself.
        call: Callable[..., Any] = self.client.execute_command if operation.script is None else self._call
        try:
            return call(*words)
        except _CUT_OFF:
            return call(*words)
        except ResponseError as error:
            if refusal(error) != "READONLY":
                raise
            # The server has become a replica and kept our connections: the URL may lead elsewhere by now.
            self.client.connection_pool.disconnect(inuse_connections=False)
            return call(*words)

    def _call(self, *words: Any) -> Any:
        pool: Any = self.client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command([pack(words)])
            return connection.read_response()
        finally:
            pool.release(connection)

    async def arun(self, operation: Operation[T_co]) -> T_co:
        """`run` on the running event loop, over connections of that loop."""
        client = self._clients().caller
        task = asyncio.current_task()
        cancelled = task.cancelling() if task is not None else 0
        try:
            try:
                reply = await _aexecute(client, operation, whole=False)
            except NoScriptError:
                reply = await _aexecute(client, operation, whole=True)
        except (ResponseError, RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise explain(error, _what(operation)) from error
        if task is not None and task.cancelling() > cancelled:
            # Before Python 3.12 asyncio.wait_for, in redis-py's writes, loses a cancellation that comes as it ends.
            raise asyncio.CancelledError
        return operation.parse(reply)

    async def await_entry(self, stream: str, after: str, timeout: float) -> None:  # noqa: ASYNC109 - no error at its end
        """Return when the stream may have an entry newer than `after`, or `timeout` seconds have passed.

        All waiters of an event loop share one connection. Raises StoreUnavailable or UnsuitableServer.
        """
        try:
            await self._clients().watch.wait(stream, after, timeout)
        except (RedisError, OSError) as error:
            raise explain(error, "waiting for a result") from error

    def _clients(self) -> _LoopClients:
        loop = asyncio.get_running_loop()
        with self._lock:
            clients = self._of_loops.get(loop)
            if clients is None:
                for closed in [each for each in self._of_loops if each.is_closed()]:
                    del self._of_loops[closed]  # they hold their loop, which would else live on with its sockets
                pool, sentinels = self._async_pool()
                client: Any = redis.asyncio.Redis
                caller = client.from_pool(pool)
                reader = client(connection_pool=pool, single_connection_client=True)
                clients = self._of_loops[loop] = _LoopClients(caller, StreamWatch(reader, caller), sentinels)
            return clients

    def _async_pool(self) -> tuple[Any, AsyncSentinels | None]:
        address = self._address
        options = client_options(address.url if address is not None else "unix:", self.socket_timeout) | {
            "retry": redis.asyncio.retry.Retry(NoBackoff(), 0),
            # Tasks beyond these wait for a connection in turn; redis-py's plain pool would refuse them.
            "max_connections": _ON_A_LOOP,
            "timeout": self.socket_timeout,
        }
        pool = redis.asyncio.BlockingConnectionPool
        if address is not None and address.watched is not None:
            options = of_master(address, options)
            sentinels = AsyncSentinels(address.watched, options)
            return async_master_pool(address.watched, sentinels, options), sentinels
        if address is not None:
            return pool.from_url(address.url, **options), None
        kwargs = dict(self.client.connection_pool.connection_kwargs)
        for name in ("retry", "decode_responses", "protocol", "parser_class"):
            kwargs.pop(name, None)
        kwargs |= {k: v for k, v in options.items() if k not in kwargs}
        if "path" in kwargs:
            return pool(connection_class=redis.asyncio.UnixDomainSocketConnection, **kwargs), None
        return pool(**kwargs), None

    def make_connection(self) -> Any:
        """A connection of one's own, outside the pool: for a thread that waits on it. Close it with `disconnect`."""
        pool: Any = self.client.connection_pool
        # Not by pool.make_connection(): that counts, and after 10,000 reconnections there would be no more.
        return pool.connection_class(**pool.connection_kwargs)

    def another(self) -> Store:
        """A store with connections of its own to the same server, for what is not trusted with these. Close it."""
        if self.url is not None:
            return type(self).open(self.url, socket_timeout=self.socket_timeout)
        pool: Any = self.client.connection_pool
        client = redis.Redis(connection_pool=type(pool)(pool.connection_class, **pool.connection_kwargs))
        return type(self)(client, socket_timeout=self.socket_timeout)

    def pubsub(self) -> Any:
        """A subscriber, for RQ's command channels."""
        make: Callable[..., Any] = self.client.pubsub
        return make(ignore_subscribe_messages=True)

    def check(self, environment: str = "local") -> None:
        """Refuse a server that cannot keep the promises: too old, a cluster, or one that evicts keys in production."""
        try:
            info: Any = self.client.info()
        except (ResponseError, RedisConnectionError, RedisTimeoutError, MaxConnectionsError, OSError) as error:
            raise explain(error, "connecting") from error
        version = str(info.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            raise UnsuitableServer(f"expected Redis 6.2 or later, or Valkey 7.2 or later, got {version}")
        if info.get("cluster_enabled"):
            raise UnsuitableServer(_NO_CLUSTER)
        policy = info.get("maxmemory_policy")
        if environment == "production" and policy not in {None, "noeviction"}:
            raise UnsuitableServer(
                f"expected maxmemory-policy noeviction, got {policy}: this server deletes jobs when it is full. "
                "Set `maxmemory-policy noeviction`; a full server then refuses new jobs and loses none"
            )

    def close(self) -> None:
        """Close the pooled connections. Those of event loops close with their loops."""
        self.client.close()
        if self._sentinels is not None:
            self._sentinels.close()

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        with self._lock:
            clients = self._of_loops.pop(asyncio.get_running_loop(), None)
        if clients is not None:
            await clients.watch.aclose()
            await clients.caller.aclose()
            if clients.sentinels is not None:
                await clients.sentinels.aclose()


@attrs.frozen
class _LoopClients:
    """What one event loop calls Redis with."""

    caller: Any
    watch: StreamWatch
    sentinels: AsyncSentinels | None


async def _aexecute(client: Any, operation: Operation[Any], *, whole: bool) -> Any:
    words = operation.command(whole=whole)
    try:
        return await client.execute_command(*words)
    except _CUT_OFF:
        return await client.execute_command(*words)
    except ResponseError as error:
        if refusal(error) != "READONLY":
            raise
        await client.connection_pool.disconnect(inuse_connections=False)
        return await client.execute_command(*words)


def of_master(address: Address, options: dict[str, Any]) -> dict[str, Any]:
    """How the master that Sentinels name is connected to."""
    parse: Callable[[str], dict[str, Any]] = redis.connection.parse_url
    said = parse(address.url)
    return options | {name: said[name] for name in said.keys() - {"host", "port", "connection_class"}}


_NO_CLUSTER = (
    "expected one server (or Sentinel), got a Redis Cluster: a job moves between keys in one script, and a cluster "
    "would put those on different nodes. Give jobkit a server of its own"
)


def _what(operation: Operation[Any]) -> str:
    if operation.script is None:
        return str(operation.args[0]).lower()
    return "enqueue" if operation.script.name == "push" else operation.script.name  # to its caller they are one
