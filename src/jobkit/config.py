"""Settings: what the environment decides. Read when a kit is made, never at import."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from jobkit.addresses import EXPECTED, SCHEMES, parse_address
from jobkit.errors import ConfigurationError, did_you_mean
from jobkit.timing import LONGEST

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "JOBKIT_"
# Read by the command line before there are settings.
_OTHERS: Final = ("app",)


def _plain(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {value!r}")  # noqa: TRY004 - pydantic reports ValueErrors
    return value.total_seconds() if isinstance(value, timedelta) else value


Duration = Annotated[float, BeforeValidator(_plain)]
Whole = Annotated[int, BeforeValidator(_plain)]


class QueueOverride(BaseModel):
    """What the environment changes of one queue: JOBKIT_QUEUES__INVOICE_PROCESSING__CONCURRENCY=2.

    Attributes:
        concurrency: how many of its jobs one worker process runs at a time.
        timeout: seconds that one attempt may take.
        attempts: all attempts of a job, the first included.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    concurrency: Whole | None = Field(default=None, ge=1)
    timeout: Duration | None = Field(default=None, gt=0)
    attempts: Whole | None = Field(default=None, ge=1)


class Settings(BaseSettings):
    """What the environment decides: each is read from JOBKIT_<NAME>, or given by keyword, which wins.

    Attributes:
        redis_url: redis://, rediss:// (TLS), unix://, redis+sentinel:// (rediss+sentinel:// over TLS) or embedded://.
            Without one, production refuses to start and the other environments use embedded://, a server of this
            machine.
        environment: local, test (starts no workers by itself) or production.
        shutdown_timeout: seconds that running jobs get when a worker is asked to stop.
        lease: seconds after which a silent worker's jobs are taken over; renewed at a third of it.
        queues: overrides by queue, JOBKIT_QUEUES__<QUEUE>__<OPTION>.
        max_payload: the largest encoded payload, in bytes.
        rq_functions: patterns of plain functions ("billing.tasks.*") that jobs of other RQ clients may call; none by
            default. In the environment: separated by commas.
        event_loop: what async processors run on: uvloop, asyncio, or auto: uvloop where it is installed.
        revision: of the release that is deployed, counting up: rules of queues (limits, weights) of an older release do
            not replace those of a newer one. 0: the worker that started last is right.
        log_level: of the worker's log.
        log_format: json, console, or auto: console on a terminal, else json.

    Raises:
        ConfigurationError: a value is wrong, or an option or a JOBKIT_ variable is unknown.

    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    redis_url: str = Field(default="", repr=False)
    environment: Literal["local", "test", "production"] = "local"
    shutdown_timeout: Duration = Field(default=30.0, ge=0, le=LONGEST)
    lease: Duration = Field(default=30.0, ge=1, le=LONGEST)
    queues: dict[str, QueueOverride] = Field(default_factory=dict)
    max_payload: Whole = Field(default=1_048_576, ge=1)
    rq_functions: Annotated[tuple[str, ...], NoDecode] = ()
    event_loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    revision: Whole = Field(default=0, ge=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"

    if not TYPE_CHECKING:  # checkers see the fields as keywords

        def __init__(self, **given: Any) -> None:
            _check_variables(os.environ, type(self).model_fields)
            try:
                super().__init__(**given)
            except ValidationError as error:
                # Not chained: the cause would print the values, and an URL holds a password.
                raise ConfigurationError(_told(error, type(self).model_fields)) from None
            except SettingsError as error:
                raise ConfigurationError(
                    f"{error}; JOBKIT_QUEUES takes JSON, or say JOBKIT_QUEUES__<QUEUE>__CONCURRENCY=4",
                ) from error

    @property
    def testing(self) -> bool:
        """Whether this is the test environment, in which nothing starts by itself."""
        return self.environment == "test"

    @field_validator("redis_url", mode="before")
    @classmethod
    def _url(cls, value: object) -> object:
        if value is None or value == "":
            return ""
        if not isinstance(value, str):
            raise ValueError("expected a URL such as redis://localhost:6379/0")  # noqa: TRY004 - as in _plain
        _check_url(value)
        return value

    @field_validator("rq_functions", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(each.strip() for each in value.split(",") if each.strip()) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _place(self) -> Settings:
        if not self.redis_url:
            if self.environment == "production":
                raise ValueError(
                    f"redis_url: expected JOBKIT_REDIS_URL in production ({EXPECTED}), got none; "
                    "the server of one machine has to be asked for: embedded://",
                )
            object.__setattr__(self, "redis_url", "embedded://")
        return self


def _check_url(url: str) -> None:
    scheme = urlsplit(url.partition("//")[0]).scheme  # of the beginning alone: it balks at lists of IPv6 hosts
    if scheme == "embedded" and "://" in url:
        return
    if scheme in ("http", "https"):
        raise ValueError(
            f"expected one of {EXPECTED}, embedded://, got an {scheme}:// URL; that is the REST address "
            "of a hosted Redis, which knows no blocking reads. Take the rediss:// address that its provider shows",
        )
    if scheme not in SCHEMES or "://" not in url:
        known = (*SCHEMES, "embedded")
        raise ValueError(
            f"expected one of {EXPECTED}, embedded://, got {scheme or 'no scheme'!r}{did_you_mean(scheme, known)}",
        )
    parse_address(url)


def _check_variables(environment: Mapping[str, str], fields: Mapping[str, Any]) -> None:
    known = [each.upper() for each in (*fields, *_OTHERS)]
    for variable in sorted(environment):
        upper = variable.upper()
        if not upper.startswith(PREFIX):
            continue
        first, _, rest = upper.removeprefix(PREFIX).partition("__")
        if first not in known or (rest and first != "QUEUES"):
            hint = did_you_mean(first, known).replace("'", f"'{PREFIX}", 1)
            raise ConfigurationError(
                f"unknown environment variable {variable}{hint or '.'} Known are "
                f"{', '.join(PREFIX + each for each in known)}, and "
                f"{', '.join(f'{PREFIX}QUEUES__<QUEUE>__{each.upper()}' for each in QueueOverride.model_fields)}",
            )


def _told(error: ValidationError, fields: Mapping[str, Any]) -> str:
    lines: list[str] = []
    for fault in error.errors(include_url=False):
        loc = [str(each) for each in fault["loc"]]
        where = "__".join(loc).upper()
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            options = QueueOverride.model_fields if loc[0] == "queues" else fields
            message = f"unknown option {loc[-1]!r}{did_you_mean(loc[-1], options)}"
        elif fault["type"] != "value_error":
            choices: Any = getattr(fields.get(loc[0]), "annotation", None)
            message += f", got {fault['input']!r}{did_you_mean(str(fault['input']), map(str, get_args(choices)))}"
        lines.append(f"{PREFIX}{where} ({'.'.join(loc)}): {message}" if loc else message)
    return "; ".join(lines)
