from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jobkit.config import QueueOverride, Settings
from jobkit.errors import ConfigurationError
from jobkit.queues import QueueSet, QueueSpec


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests start without JOBKIT_ variables."""
    import os

    for name in list(os.environ):
        if name.upper().startswith("JOBKIT_"):
            monkeypatch.delenv(name)


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that sets JOBKIT_ variables."""

    def set_all(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"JOBKIT_{name}", value)

    return set_all


def test_defaults() -> None:
    """Without variables it is a local machine with its own server."""
    settings = Settings()
    assert (settings.redis_url, settings.environment, settings.testing) == ("embedded://", "local", False)
    assert (settings.shutdown_timeout, settings.lease, settings.max_payload) == (30.0, 30.0, 1_048_576)
    assert (settings.queues, settings.rq_functions) == ({}, ())
    assert (settings.log_level, settings.log_format) == ("INFO", "auto")


def test_variables(variables: Callable[..., None]) -> None:
    """Each setting is read from its variable; empty ones count as unset; a keyword wins."""
    variables(
        REDIS_URL="rediss://user:pass@redis.example:6380/2",
        ENVIRONMENT="test",
        SHUTDOWN_TIMEOUT="5",
        LEASE="",
        RQ_FUNCTIONS="billing.tasks.*, mail.send",
        LOG_LEVEL="debug",
        APP="acme.jobs:create_kit",
        QUEUES__INVOICE_PROCESSING__CONCURRENCY="4",
        QUEUES__INVOICE_PROCESSING__TIMEOUT="2.5",
        QUEUES__MAIL__ATTEMPTS="1",
    )
    settings = Settings(shutdown_timeout=timedelta(minutes=1))
    assert settings.redis_url == "rediss://user:pass@redis.example:6380/2"
    assert (settings.testing, settings.shutdown_timeout, settings.lease) == (True, 60.0, 30.0)
    assert settings.rq_functions == ("billing.tasks.*", "mail.send")
    assert settings.log_level == "DEBUG"
    assert settings.queues == {
        "invoice_processing": QueueOverride(concurrency=4, timeout=2.5),
        "mail": QueueOverride(attempts=1),
    }
    queues = QueueSet([QueueSpec("invoice-processing"), QueueSpec("mail")], settings.queues)
    assert queues.get("invoice-processing").concurrency == 4
    assert queues.get("mail").retry.attempts == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"REDS_URL": "x"}, "unknown environment variable JOBKIT_REDS_URL; did you mean 'JOBKIT_REDIS_URL'"),
        ({"COLOUR": "red"}, r"unknown environment variable JOBKIT_COLOUR\. Known are JOBKIT_REDIS_URL, "),
        ({"LEASE__X": "1"}, "unknown environment variable JOBKIT_LEASE__X"),
        ({"ENVIRONMENT": "prod"}, "JOBKIT_ENVIRONMENT .*got 'prod'; did you mean 'production'"),
        ({"ENVIRONMENT": "production"}, "JOBKIT_REDIS_URL in production"),
        ({"REDIS_URL": "https://a:hidden@b.example"}, "REST address .*rediss:// address"),
        ({"REDIS_URL": "reds://a:hidden@b.example"}, "got 'reds'; did you mean 'redis'"),
        ({"REDIS_URL": "redis://:hidden@b.example?decode_responses=1"}, "option decode_responses cannot be taken"),
        ({"REDIS_URL": "redis+sentinel://:hidden@b.example"}, "expected redis.sentinel://host:26379,.* got no name"),
        (
            {"REDIS_URL": "localhost:6379"},
            r"expected one of redis://, rediss://, unix://, redis\+sentinel://, rediss\+sentinel://, embedded://",
        ),
        ({"LEASE": "soon"}, r"JOBKIT_LEASE \(lease\): .*got 'soon'"),
        ({"LEASE": "0"}, "JOBKIT_LEASE .*got '0'"),
        ({"LEASE": "inf"}, "JOBKIT_LEASE"),
        ({"SHUTDOWN_TIMEOUT": "-1"}, "JOBKIT_SHUTDOWN_TIMEOUT .*got '-1'"),
        ({"MAX_PAYLOAD": "0"}, "JOBKIT_MAX_PAYLOAD"),
        ({"LOG_FORMAT": "jsn"}, "JOBKIT_LOG_FORMAT .*did you mean 'json'"),
        ({"QUEUES__MAIL__CONCURENCY": "4"}, "JOBKIT_QUEUES__MAIL__CONCURENCY .*did you mean 'concurrency'"),
        ({"QUEUES__MAIL__CONCURRENCY": "0"}, "JOBKIT_QUEUES__MAIL__CONCURRENCY .*got '0'"),
        ({"QUEUES__MAIL__TIMEOUT": "-1"}, "JOBKIT_QUEUES__MAIL__TIMEOUT"),
        ({"QUEUES": "mail"}, r"JOBKIT_QUEUES__<QUEUE>__CONCURRENCY"),
    ],
)
def test_wrong_variables_are_told(variables: Callable[..., None], values: Any, message: str) -> None:
    """A wrong or unknown variable is named, with what was expected, what came and the nearest; passwords are not."""
    variables(**values)
    with pytest.raises(ConfigurationError, match=message) as caught:
        Settings()
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None or "hidden" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reds_url": "x"}, "unknown option 'reds_url'; did you mean 'redis_url'"),
        ({"redis_url": 3}, "expected a URL"),
        ({"lease": True}, "JOBKIT_LEASE .*expected a number, got True"),
        ({"queues": {"mail": {"timeout": True}}}, "expected a number"),
        ({"queues": 3}, "JOBKIT_QUEUES"),
    ],
)
def test_wrong_keywords_are_told(given: Any, message: str) -> None:
    """What code passes is checked as the environment is."""
    with pytest.raises(ConfigurationError, match=message):
        Settings(**given)


def test_production_may_ask_for_the_embedded_server() -> None:
    """It has to be said, because it keeps jobs on one machine."""
    assert Settings(environment="production", redis_url="embedded://").redis_url == "embedded://"
    with pytest.raises(ConfigurationError):
        Settings(environment="production", redis_url=None)


def test_settings_are_frozen_and_hide_the_password() -> None:
    """They do not change while a kit lives, and printing them shows no URL."""
    settings = Settings(redis_url="redis://:hidden@localhost")
    assert "hidden" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.lease = 5
