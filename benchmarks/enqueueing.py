"""One producer enqueues on an empty server: jobs a second, CPU, and the server's memory for a job that waits."""

from benchmarks.draining import PER
from benchmarks.stage import Stage
from benchmarks.systems import System


def enqueue(stage: Stage, system: System, count: int, mode: str) -> dict[str, float]:
    """Measure one way: `one` by one, in `bulk` calls of 1,000, or 100 in `flight` at once."""
    stage.fresh(system)
    before = stage.server.counters()
    said = stage.produce(system, mode, count)
    used = stage.server.counters().since(before)
    return {
        "jobs": count,
        "per_s": count / said["seconds"],
        "producer_cpu_per_10k": said["cpu"] / count * PER,
        "redis_cpu_per_10k": used.cpu / count * PER,
        "reads": used.reads / count,
        "queued_bytes": used.memory / count,
    }
