"""Addresses: what a URL says about where Redis is, read and checked without connecting.

No message repeats the URL, nor what might be a part of its password.
"""

from __future__ import annotations

import math
import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

import attrs

from jobkit.errors import ConfigurationError, did_you_mean

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
SENTINEL_PORT: Final = 26379
SHORTEST: Final = 2.0
"""Seconds that an answer is waited for at least: the blocking reads take up to one."""
EXPECTED: Final = "redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://"

_TIMEOUTS: Final = ("socket_timeout", "socket_connect_timeout")
_TLS: Final = (
    *("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_check_hostname", "ssl_certfile"),
    *("ssl_keyfile", "ssl_password", "ssl_min_version", "ssl_ciphers"),
)
_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_ANYWHERE: Final = ("db", "username", "password", "client_name")

_REPEATS = "a command that is repeated blindly may start jobs twice; jobkit repeats what is safe to repeat"
_BYTES = "payloads and results are read as bytes, and jobs hold UTF-8 JSON"
_OWN: Final = {
    "decode_responses": _BYTES,
    "encoding": _BYTES,
    "encoding_errors": _BYTES,
    "protocol": "replies are read as RESP2",
    "legacy_responses": "replies are read as RESP2",
    "retry": _REPEATS,
    "retry_on_timeout": _REPEATS,
    "retry_on_error": _REPEATS,
    "health_check_interval": "a connection that broke is noticed and replaced without it",
    "max_connections": "each thread that waits for a result has a connection, and a limit would refuse some of them",
    "timeout": "it is about a pool that jobkit does not use; `socket_timeout` bounds an answer",
    "single_connection_client": "several threads call at once",
    "ssl": "TLS is asked for by the scheme, rediss:// or rediss+sentinel://",
}


@attrs.frozen
class Watched:
    """A service that Sentinels watch, and how they are asked for its master."""

    service: str
    members: tuple[tuple[str, int], ...]
    tls: bool
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Address:
    """Where Redis is.

    Attributes:
        url: what redis-py reads; where Sentinels are asked its host means nothing, the rest is for the master.
        socket_timeout: seconds that an answer is waited for, if the URL says so.
        watched: what to ask the Sentinels for; None for one server.

    """

    url: str = attrs.field(repr=False)
    socket_timeout: float | None = None
    watched: Watched | None = None


def parse_address(url: str) -> Address:
    """Read a URL. Raises ConfigurationError: what was expected, what came, what to do."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in SCHEMES:
        shown = repr(scheme) if separator else "no scheme"
        raise ConfigurationError(
            f"expected a URL that begins with one of {EXPECTED}, got {shown}{did_you_mean(scheme, SCHEMES)}"
        )
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        options.setdefault(name, value)  # of two, redis-py takes the first
    _check_options(scheme, options)
    timeout = _timeout(options, "socket_timeout", SHORTEST)
    _timeout(options, "socket_connect_timeout", 0.0)
    if scheme == "unix":
        if not path:
            raise ConfigurationError("expected the path of a socket, unix:///run/redis.sock, got none")
        return Address(f"unix://{rest}{'?' + query if query else ''}", timeout)
    if "sentinel" not in scheme:
        if "," in hosts:
            raise ConfigurationError(
                f"expected one server, got several; for Sentinels say {scheme}+sentinel://host,host/service"
            )
        _member(hosts, 6379)
        _database(path, options)
        return Address(f"{scheme}://{rest}{'?' + query if query else ''}", timeout)
    service, _, database = path.partition("/")
    if not service:
        raise ConfigurationError(
            f"expected {scheme}://host:26379,host:26379/service/0 with the name under which the Sentinels watch the "
            "master (`sentinel monitor NAME ...`, often mymaster), got no name"
        )
    _database(database, options)
    watched = Watched(
        unquote(service),
        tuple(_member(each, SENTINEL_PORT) for each in hosts.split(",")),
        scheme == "rediss+sentinel",
        options.pop("sentinel_username", None),
        options.pop("sentinel_password", None),
    )
    single = scheme.removesuffix("+sentinel")
    master = f"{single}://{user}{at}master/{database}{'?' + urlencode(options) if options else ''}"
    return Address(master, timeout, watched)


def shown(url: str) -> str:
    """The URL as people may see it: without passwords."""
    url = re.sub(r"(://[^/?@:]*):.*@", r"\1:***@", url)
    return re.sub(r"((?:^|[?&])\w*password=)[^&]*", r"\1***", url)


def _check_options(scheme: str, options: dict[str, str]) -> None:
    allowed = [*_ANYWHERE, *_TIMEOUTS]
    if scheme != "unix":
        allowed.append("socket_keepalive")
    if scheme.startswith("rediss"):
        allowed += _TLS
    if "sentinel" in scheme:
        allowed += _OF_SENTINELS
    for name in options:
        if name in allowed:
            continue
        if name in _OWN:
            raise ConfigurationError(f"the URL's option {name} cannot be taken: {_OWN[name]}. Leave it out")
        if name in _TLS:
            raise ConfigurationError(f"the URL's option {name} is about TLS: it needs rediss:// or rediss+sentinel://")
        if name in _OF_SENTINELS:
            raise ConfigurationError(f"the URL's option {name} needs redis+sentinel:// or rediss+sentinel://")
        raise ConfigurationError(
            f"unknown option {name!r} in the URL{did_you_mean(name, allowed)}. Known are {', '.join(allowed)}"
        )


def _timeout(options: dict[str, str], name: str, least: float) -> float | None:
    if name not in options:
        return None
    try:
        found = float(options[name])
    except ValueError:
        found = math.nan
    if not (least <= found < math.inf) or found == 0:
        bound = f"{least:g} or more, since blocking reads wait for a second" if least else "more than 0"
        raise ConfigurationError(f"{name} in the URL: expected seconds, {bound}, got {options[name]!r}")
    return found


def _member(host: str, default: int) -> tuple[str, int]:
    """A host and its port; IPv6 addresses are in brackets."""
    name, colon, port = host, "", ""
    if not host.endswith("]"):
        name, colon, port = host.rpartition(":") if ":" in host else (host, "", "")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):  # noqa: PLR2004 - as ports go
        # Not shown: a password with a / or an @ in it ends up here.
        raise ConfigurationError(
            "expected host:port with a port from 1 to 65535 in the URL. Write special characters of a password "
            "percent-encoded: / is %2F, @ is %40, : is %3A, ? is %3F, # is %23"
        )
    name = name.removeprefix("[").removesuffix("]")
    if not name and (colon or default == SENTINEL_PORT):
        raise ConfigurationError("expected a host before each port and comma of the URL, got none")
    return unquote(name), int(port) if port else default


def _database(path: str, options: dict[str, str]) -> None:
    for found in (path.strip("/"), options.get("db", "")):
        if found and not (found.isascii() and found.isdigit()):
            raise ConfigurationError(
                "expected a database number at the end of the URL's path, /0, got something else. A password with a "
                "special character has to be percent-encoded: / is %2F, @ is %40"
            )
