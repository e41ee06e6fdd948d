"""Connections: which servers are taken, how a call is made, and what a failure is called.

redis-py repeats a command whose reply was lost unless it is told not to; a repeated claim starts other jobs. So its
retries are off here, and each caller repeats only what it knows to be safe to repeat.
"""

from __future__ import annotations

import asyncio
import re
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    MaxConnectionsError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from jobkit.errors import JobkitError, StoreFull, StoreUnavailable, UnsuitableServer
from jobkit.store.keys import Keys
from jobkit.store.watch import StreamWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobkit.store.scripting import Script

T_co = TypeVar("T_co", covariant=True)

_OLDEST = (6, 2)
_OF_THREADS = 10_000
_ON_A_LOOP = 50
_CUT_OFF = (RedisConnectionError, OSError)
_AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OSError)


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


def explain(error: Exception, what: str) -> JobkitError:
    """The jobkit error for a redis-py one, with the remedy."""
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):  # Redis 6.2, within a script
        return StoreFull(
            f"{what}: Redis is at its maxmemory and refused to store more ({error}). Nothing was written. "
            "Running jobs still finish; free memory, lower retention or raise maxmemory"
        )
    if isinstance(error, _AWAY):
        return StoreUnavailable(
            f"{what}: no usable answer from Redis ({type(error).__name__}: {error}). "
            "Check that the server runs and that JOBKIT_REDIS_URL names it"
        )
    return UnsuitableServer(f"{what}: Redis refused the call: {error}")


UNDECODABLE: Final = "backslashreplace"
"""How the bytes of a job id that is no UTF-8 are shown. Such a job cannot be addressed: it ends as poison."""


def client_options(url: str, socket_timeout: float) -> dict[str, Any]:
    """How every connection of ours is made: RESP2 with bytes, no retries behind our back."""
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

    def __init__(self, client: redis.Redis, *, url: str | None = None, socket_timeout: float = 5.0) -> None:
        given: object = client
        if isinstance(given, redis.RedisCluster):
            raise UnsuitableServer(_NO_CLUSTER)
        kwargs = client.connection_pool.connection_kwargs
        if kwargs.get("decode_responses"):
            raise UnsuitableServer(
                "expected a redis client that answers bytes, got one with decode_responses=True; results and "
                "payloads are bytes: make it without that option, or give a URL"
            )
        self.client = client
        self.url = url
        self.socket_timeout = socket_timeout
        self.keys = Keys.from_environment()
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClients] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, url: str, *, socket_timeout: float = 5.0) -> Store:
        """A store for a `redis://`, `rediss://` or `unix://` URL. Connects at the first call."""
        try:
            client = redis.Redis.from_url(url, **client_options(url, socket_timeout))
        except ValueError as error:
            raise UnsuitableServer(
                f"expected a redis://, rediss:// or unix:// URL, got {_without_password(url)!r}: {error}"
            ) from error
        return cls(client, url=url, socket_timeout=socket_timeout)

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
        call: Callable[..., Any] = self.client.execute_command
        try:
            return call(*words)
        except _CUT_OFF:
            return call(*words)

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
                pool = self._async_pool()
                client: Any = redis.asyncio.Redis
                caller = client.from_pool(pool)
                reader = client(connection_pool=pool, single_connection_client=True)
                clients = self._of_loops[loop] = _LoopClients(caller, StreamWatch(reader, caller))
            return clients

    def _async_pool(self) -> Any:
        options = client_options(self.url or "unix:", self.socket_timeout) | {
            "retry": redis.asyncio.retry.Retry(NoBackoff(), 0),
            # Tasks beyond these wait for a connection in turn; redis-py's plain pool would refuse them.
            "max_connections": _ON_A_LOOP,
            "timeout": self.socket_timeout,
        }
        pool = redis.asyncio.BlockingConnectionPool
        if self.url is not None:
            return pool.from_url(self.url, **options)
        kwargs = dict(self.client.connection_pool.connection_kwargs)
        for name in ("retry", "decode_responses", "protocol", "parser_class"):
            kwargs.pop(name, None)
        kwargs |= {k: v for k, v in options.items() if k not in kwargs}
        if "path" in kwargs:
            return pool(connection_class=redis.asyncio.UnixDomainSocketConnection, **kwargs)
        return pool(**kwargs)

    def make_connection(self) -> Any:
        """A connection of one's own, outside the pool: for a thread that waits on it. Close it with `disconnect`."""
        return self.client.connection_pool.make_connection()

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

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        with self._lock:
            clients = self._of_loops.pop(asyncio.get_running_loop(), None)
        if clients is not None:
            await clients.watch.aclose()
            await clients.caller.aclose()


@attrs.frozen
class _LoopClients:
    """What one event loop calls Redis with."""

    caller: Any
    watch: StreamWatch


async def _aexecute(client: Any, operation: Operation[Any], *, whole: bool) -> Any:
    words = operation.command(whole=whole)
    try:
        return await client.execute_command(*words)
    except _CUT_OFF:
        return await client.execute_command(*words)


def _without_password(url: str) -> str:
    return re.sub(r"(?<=:)[^:@/]*(?=@)", "***", url)


_NO_CLUSTER = (
    "expected one server (or Sentinel), got a Redis Cluster: a job moves between keys in one script, and a cluster "
    "would put those on different nodes. Give jobkit a server of its own"
)


def _what(operation: Operation[Any]) -> str:
    return operation.script.name if operation.script is not None else str(operation.args[0]).lower()
