"""What a worker that ends has not finished."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobkit.errors import JobkitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobkit.store.claims import Claims
    from jobkit.worker.attempt import Attempt

log = logging.getLogger("jobkit.worker")


def put_back(left: Sequence[Attempt], claims: Claims, *, own_process: bool) -> None:
    """Return what did not end, as the last call. In a host process what cannot be ended goes on: not returned."""
    returned = [a for a in left if own_process or a.over]
    if len(returned) < len(left):
        log.warning(
            "jobs go on in threads of this process; their leases run out and they run again elsewhere",
            extra={"jobs": [a.claimed.id for a in left if a not in returned]},
        )
    if not returned:
        return
    try:
        lost = claims.put_back([a.claimed for a in returned])
    except JobkitError as error:
        log.warning("unfinished jobs are left to rescue", extra={"jobs": len(returned), "error": str(error)})
    else:
        log.info("put back unfinished jobs", extra={"jobs": len(returned) - len(lost)})
