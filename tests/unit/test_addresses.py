import pytest

from jobkit.addresses import Address, Watched, parse_address, shown
from jobkit.config import Settings
from jobkit.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/3",
        "redis://:p%40ss@[::1]:6379/0?client_name=acme&socket_keepalive=yes&socket_connect_timeout=0.5",
        "rediss://user:pass@redis.example:6380/2?ssl_cert_reqs=none&ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock?db=2",
        "unix://user:pass@/run/redis.sock",
    ],
)
def test_one_server(url: str) -> None:
    """A URL of one server is left as it is."""
    assert parse_address(url) == Address(url)


def test_sentinels() -> None:
    """Members, service and the Sentinels' own credentials are read; the rest is for the master."""
    found = parse_address(
        "REDISS+Sentinel://me:p%40ss@one:1,two,[::1]:3/my%20jobs/4"
        "?sentinel_username=s&sentinel_password=a%2Fb&client_name=c&socket_timeout=3"
    )
    members = (("one", 1), ("two", 26379), ("::1", 3))
    assert found.watched == Watched("my jobs", members, tls=True, username="s", password="a/b")  # noqa: S106
    assert found.url == "rediss://me:p%40ss@master/4?client_name=c&socket_timeout=3"
    assert found.socket_timeout == 3
    assert "a/b" not in repr(found)
    assert "p%40ss" not in repr(found)


def test_shortest_sentinel_url() -> None:
    """Ports, database and credentials may be left out."""
    found = parse_address("redis+sentinel://one/jobs")
    assert found == Address("redis://master/", None, Watched("jobs", (("one", 26379),), tls=False))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sentinel://h/jobs", r"got 'sentinel'; did you mean 'redis\+sentinel'"),
        ("redis://one:1,two:2/0", r"several; for Sentinels say redis\+sentinel://"),
        ("redis+sentinel://one,two", "got no name"),
        ("redis+sentinel:///jobs", "expected a host"),
        ("redis+sentinel://one,,two/jobs", "expected a host"),
        ("redis+sentinel://one:0/jobs", "port from 1 to 65535"),
        ("redis+sentinel://one/jobs/zero", "expected a database number"),
        ("redis+sentinel://one/jobs?sentinel_pasword=x", "did you mean 'sentinel_password'"),
        ("redis://h?sentinel_password=x", r"needs redis\+sentinel://"),
        ("redis://h/mydb", "expected a database number"),
        ("redis://h?db=x", "expected a database number"),
        ("redis://:hidden/part@h:6379", "port from 1 to 65535 .* / is %2F"),
        ("redis://h:99999", "port from 1 to 65535"),
        ("unix://", "expected the path of a socket"),
        ("redis://h?ssl_ca_certs=x", "about TLS: it needs rediss://"),
        ("redis://h?ssl=true", "cannot be taken: TLS is asked for by the scheme"),
        ("redis://h?socket_timeout=0.5", "expected seconds, 2 or more, since blocking reads wait .* got '0.5'"),
        ("redis://h?socket_timeout=nan", "got 'nan'"),
        ("redis://h?socket_connect_timeout=0", "expected seconds, more than 0, got '0'"),
        ("redis://h?decode_responses=true", "cannot be taken: payloads and results are read as bytes"),
        ("redis://h?encoding=latin1", "cannot be taken"),
        ("redis://h?protocol=3", "cannot be taken: replies are read as RESP2"),
        ("redis://h?retry_on_timeout=true", "cannot be taken: a command that is repeated blindly may start jobs twice"),
        ("redis://h?health_check_interval=5", "cannot be taken"),
        ("redis://h?max_connections=10", "cannot be taken"),
        ("redis://h?timeout=5", "`socket_timeout` bounds an answer"),
        ("redis://h?socket_time=5", "unknown option 'socket_time' in the URL; did you mean 'socket_timeout'"),
        ("unix:///s?socket_keepalive=1", "unknown option 'socket_keepalive'"),
    ],
)
def test_wrong_urls_are_told(url: str, told: str) -> None:
    """What a URL cannot say is refused with the reason, in the settings; no part of a password is shown."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        parse_address(url)
    assert "hidden" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=told):
        Settings(redis_url=url)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:hidden@h/0", "redis://:***@h/0"),
        ("redis://me:hid/d@en@h", "redis://me:***@h"),
        ("unix:///s?db=1&password=hidden", "unix:///s?db=1&password=***"),
        (
            "redis+sentinel://a:b@h,i/s?sentinel_password=x&db=1",
            "redis+sentinel://a:***@h,i/s?sentinel_password=***&db=1",
        ),
    ],
)
def test_shown(url: str, seen: str) -> None:
    """What people see of a URL holds no password."""
    assert shown(url) == seen


def test_settings_take_sentinels() -> None:
    """A Sentinel URL is a setting like any other, in production too."""
    url = "redis+sentinel://one:26379,[::1]:26379/jobs/0"
    assert Settings(redis_url=url, environment="production").redis_url == url
