"""Sentinels: who is the master now. Connections ask each time they connect, so they follow a failover.

redis-py has pools that do so. What they ask is here and not redis-py's own `Sentinel`: that one mixes its list up when
several threads ask at once, and its errors do not tell a wrong name from a Sentinel that is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jobkit.addresses import Watched

ASK: Final = 1.0
"""Seconds that one Sentinel gets to take a connection, and to answer."""
_FAILURES: Final = (RedisError, OSError)
_DOWN: Final = frozenset({"s_down", "o_down"})
"""Not `disconnected`: so is a master that has just been promoted, until the Sentinel has connected to it."""
_FOR_BOTH: Final = ("ssl_", "socket_keepalive", "client_name", "protocol", "retry", "health_check", "max_conn")


class NoMaster(RedisConnectionError):
    """No Sentinel names a master that is up."""


class Sentinels:
    """The Sentinels as a blocking pool asks them. Safe for threads."""

    def __init__(self, watched: Watched, options: Mapping[str, Any]) -> None:
        self._clients = [
            redis.Redis(host=host, port=port, **_options(watched, options)) for host, port in watched.members
        ]
        self._names = _names(watched)
        self._best = 0

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master. Raises NoMaster with what each Sentinel said."""
        survey = Survey(service_name)
        for number in _order(self._best, len(self._clients)):
            call: Callable[..., Any] = self._clients[number].execute_command
            try:
                address = survey.heard(self._names[number], call("SENTINEL", "MASTER", service_name))
            except _FAILURES as error:
                survey.failed(self._names[number], error)
                continue
            if address is not None:
                self._best = number  # the next one asks there first
                return address
        raise survey.verdict()

    def close(self) -> None:
        """Close the connections to the Sentinels."""
        for client in self._clients:
            client.close()


class AsyncSentinels:
    """The Sentinels as the pool of one event loop asks them."""

    def __init__(self, watched: Watched, options: Mapping[str, Any]) -> None:
        make: Any = redis.asyncio.Redis
        self._clients = [make(host=host, port=port, **_options(watched, options)) for host, port in watched.members]
        self._names = _names(watched)
        self._best = 0

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master. Raises NoMaster with what each Sentinel said."""
        survey = Survey(service_name)
        for number in _order(self._best, len(self._clients)):
            try:
                reply = await self._clients[number].execute_command("SENTINEL", "MASTER", service_name)
                address = survey.heard(self._names[number], reply)
            except _FAILURES as error:
                survey.failed(self._names[number], error)
                continue
            if address is not None:
                self._best = number
                return address
        raise survey.verdict()

    async def aclose(self) -> None:
        """Close the connections to the Sentinels."""
        for client in self._clients:
            await client.aclose()


class AsyncMasterPool(redis.asyncio.sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """An event loop's connections to the master; tasks wait for one in turn."""


def master_pool(watched: Watched, sentinels: Sentinels, options: Mapping[str, Any]) -> Any:
    """A blocking pool of connections to the master."""
    make: Any = redis.sentinel.SentinelConnectionPool
    return make(watched.service, sentinels, ssl=watched.tls, **options)


def async_master_pool(watched: Watched, sentinels: AsyncSentinels, options: Mapping[str, Any]) -> Any:
    """An event loop's pool of connections to the master."""
    make: Any = AsyncMasterPool
    return make(watched.service, sentinels, ssl=watched.tls, **options)


class Survey:
    """One question to all Sentinels, without the asking: takes what they answer, and says what it means."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._said: list[str] = []

    def heard(self, who: str, reply: Any) -> tuple[str, int] | None:
        """The master's address, or None when this Sentinel thinks that it is down."""
        words = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in reply]
        fields = dict(zip(words[::2], words[1::2], strict=False))
        flags = set(fields.get("flags", "").split(","))
        if "master" not in flags or flags & _DOWN:
            self._said.append(f"{who} sees {fields.get('ip')}:{fields.get('port')} as {fields.get('flags')}")
            return None
        return fields["ip"], int(fields["port"])

    def failed(self, who: str, error: Exception) -> None:
        """This one gave no answer, or an error."""
        if isinstance(error, ResponseError) and "No such master" in str(error):
            told = f"{who} watches no master of the name {self._service!r}"
        elif isinstance(error, ResponseError) and "unknown command" in str(error):
            told = f"{who} is no Sentinel (a Redis server, perhaps)"
        else:
            told = f"{who} gave no answer ({type(error).__name__}: {error})"
        self._said.append(told)

    def verdict(self) -> NoMaster:
        """What to raise when no one named a master."""
        return NoMaster(f"no Sentinel names a master of {self._service!r} that is up: {'; '.join(self._said)}")


def _order(best: int, count: int) -> Iterator[int]:
    """The one that answered last time goes first."""
    yield best
    yield from (number for number in range(count) if number != best)


def _names(watched: Watched) -> list[str]:
    return [f"{host}:{port}" for host, port in watched.members]


def _options(watched: Watched, options: Mapping[str, Any]) -> dict[str, Any]:
    """How a Sentinel is connected to: as the master is, with credentials of its own and less patience."""
    shared = {name: value for name, value in options.items() if name.startswith(_FOR_BOTH)}
    asked = min(ASK, options["socket_timeout"])
    return shared | {
        "ssl": watched.tls,
        "username": watched.username,
        "password": watched.password,
        "socket_timeout": asked,
        "socket_connect_timeout": asked,
    }
