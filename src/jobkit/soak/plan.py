"""What a soak does: how long, with how many jobs and workers, and what it breaks meanwhile."""

from __future__ import annotations

import os
from typing import Any

import attrs

from jobkit.errors import ConfigurationError


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ConfigurationError(f"soak: expected {attribute.name} above 0, got {value!r}")


def _not_negative(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ConfigurationError(f"soak: expected {attribute.name} of 0 or more, got {value!r}")


@attrs.frozen(kw_only=True)
class Plan:
    """One soak; times in seconds.

    Args:
        seconds: how long jobs come in and workers are killed. Draining and auditing follow.
        redis_url: a server to run on; None starts one that is gone afterwards.
        workers: worker processes at a time.
        jobs: jobs to enqueue, spread over `seconds`. One in ten has a follow-up, which counts besides.
        kill_every: time between two SIGKILLs.
        lease: the workers' lease.
        concurrency: slots of each worker.
        job_seconds: how long a job takes.
        spare_idle: kill only workers that hold a job, and wait up to `kill_every` for one.
        away: kill the server in the middle and start it again after this time; 0: do not. Own server only.
        freeze: stop the server (SIGSTOP) in the middle for this time; 0: do not. Own server only.
        foreign_data: run on a server that holds other data.
        seed: of everything that is left to chance.

    Raises:
        ConfigurationError: a value is wrong, or a server given by its URL is to be stopped.

    """

    seconds: float = attrs.field(default=60.0, validator=_positive)
    redis_url: str | None = None
    workers: int = attrs.field(default=4, validator=_positive)
    jobs: int = attrs.field(default=20_000, validator=_positive)
    kill_every: float = attrs.field(default=0.2, validator=_positive)
    lease: float = attrs.field(default=3.0, validator=_positive)
    concurrency: int = attrs.field(default=10, validator=_positive)
    job_seconds: float = attrs.field(default=0.02, validator=_not_negative)
    spare_idle: bool = False
    away: float = attrs.field(default=0.0, validator=_not_negative)
    freeze: float = attrs.field(default=0.0, validator=_not_negative)
    foreign_data: bool = False
    seed: int = attrs.field(factory=lambda: int.from_bytes(os.urandom(4), "big"))

    def __attrs_post_init__(self) -> None:
        """Refuse what would stop somebody else's server."""
        if self.redis_url is not None and (self.away or self.freeze):
            raise ConfigurationError(
                "soak: expected no URL beside away and freeze, got both: only a server that the soak has started "
                "itself is stopped. Leave the URL out"
            )
        if max(self.away, self.freeze) > self.seconds / 3:
            raise ConfigurationError(
                f"soak: expected away and freeze of at most a third of the run ({self.seconds / 3:g} s), got "
                f"{max(self.away, self.freeze):g} s"
            )
