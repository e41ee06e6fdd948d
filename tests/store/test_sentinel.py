"""How Sentinels are asked, and what their answers mean; with real ones in tests/outage."""

import pytest
import redis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from jobkit.addresses import parse_address
from jobkit.errors import UnsuitableServer
from jobkit.store import Store
from jobkit.store.sentinel import Survey


def says(flags: str) -> list[bytes]:
    """A Sentinel's answer about a master in this state."""
    return [b"name", b"jobs", b"ip", b"10.0.0.1", b"port", b"6379", b"flags", flags.encode()]


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("master", ("10.0.0.1", 6379)),
        ("master,disconnected", ("10.0.0.1", 6379)),
        ("master,s_down", None),
        ("master,s_down,o_down,failover_in_progress", None),
        ("slave", None),
    ],
)
def test_answers(flags: str, found: object) -> None:
    """A master that a Sentinel holds for dead is not taken: another may have been promoted elsewhere."""
    survey = Survey("jobs")
    assert survey.heard("one:26379", says(flags)) == found
    if found is None:
        assert f"one:26379 sees 10.0.0.1:6379 as {flags}" in str(survey.verdict())


def test_verdict() -> None:
    """Without a master the error says what each Sentinel said."""
    survey = Survey("jobs")
    survey.failed("one:1", RedisConnectionError("refused"))
    survey.failed("two:2", ResponseError("No such master with that name"))
    survey.failed("three:3", ResponseError("unknown command 'SENTINEL', with args"))
    assert str(survey.verdict()) == (
        "no Sentinel names a master of 'jobs' that is up: one:1 gave no answer (ConnectionError: refused); "
        "two:2 watches no master of the name 'jobs'; three:3 is no Sentinel (a Redis server, perhaps)"
    )


def test_tls() -> None:
    """Over TLS the URL's certificates count for the master and for the Sentinels, credentials for one of them."""
    url = "rediss+sentinel://me:mine@one/jobs?ssl_ca_certs=/etc/ca.pem&sentinel_password=theirs"
    assert parse_address(url).watched
    store = Store.open(url)
    master = store.make_connection()
    assert isinstance(master, redis.connection.SSLConnection)
    assert (master.ca_certs, master.username, master.password) == ("/etc/ca.pem", "me", "mine")
    pool, sentinels = store._async_pool()
    for each in (store._sentinels, sentinels):
        assert each
        kwargs = each._clients[0].connection_pool.connection_kwargs
        assert (kwargs["ssl_ca_certs"], kwargs["username"], kwargs["password"]) == ("/etc/ca.pem", None, "theirs")
        assert kwargs["socket_timeout"] == 1.0
    assert issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    assert pool.connection_kwargs["ssl_ca_certs"] == "/etc/ca.pem"


def test_ready_sentinel_client_is_refused() -> None:
    """A client that asks Sentinels cannot be taken over for event loops; the URL is asked for."""
    client = redis.sentinel.Sentinel([("localhost", 26379)]).master_for("jobs")
    with pytest.raises(UnsuitableServer, match="expected the URL of the Sentinels"):
        Store(client)
