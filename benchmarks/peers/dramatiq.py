"""dramatiq with its Redis broker: JSON, its default middleware, no results as by default."""

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import jobs

broker = RedisBroker(url=jobs.URL)
dramatiq.set_broker(broker)
ACTORS = {
    "noop": dramatiq.actor(actor_name="noop")(jobs.noop),
    "sleep": dramatiq.actor(actor_name="sleep")(jobs.sleep),
}


class Client:
    """Enqueues."""

    def open(self) -> None:
        """Connect."""
        broker.client.ping()

    def enqueue(self, job: str, data: dict[str, Any]) -> None:
        """Enqueue one."""
        ACTORS[job].send(data)

    def close(self) -> None:
        """Disconnect."""
        broker.close()
