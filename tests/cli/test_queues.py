import json

from jobkit import JobKit
from tests.cli.conftest import Jobkit
from tests.kit.app import NEVER_LONG, Note


def test_ls_counts(jobkit: Jobkit, live: JobKit) -> None:
    """Each queue is a line: its jobs by state, and the workers that serve it."""
    live.enqueue(Note()).result(timeout=NEVER_LONG)
    live.enqueue(Note(), delay=3600)
    lines = [line.split() for line in jobkit("queues", "ls").stdout.splitlines()]
    titles = ["queue", "queued", "started", "scheduled", "deferred", "finished", "failed", "canceled", "workers"]
    assert lines == [titles, ["sums", *"00000001"], ["notes", *"00101001"]]


def test_ls_json(jobkit: Jobkit, kit: JobKit) -> None:
    """JSON is a queue a line, with the same numbers."""
    kit.enqueue(Note())
    found = {each["name"]: each for each in map(json.loads, jobkit("queues", "ls", "--json").stdout.splitlines())}
    assert list(found) == ["sums", "notes"]
    assert found["notes"] == {
        "name": "notes",
        "queued": 1,
        "started": 0,
        "scheduled": 0,
        "deferred": 0,
        "finished": 0,
        "failed": 0,
        "canceled": 0,
        "workers": 0,
        "paused": False,
    }


def test_ls_marks_queues_of_others(jobkit: Jobkit, store_url: str) -> None:
    """A queue that this app does not declare is listed and marked."""
    import rq
    from redis import Redis
    from rq.serializers import JSONSerializer

    with Redis.from_url(store_url) as client:
        rq.Queue("theirs", connection=client, serializer=JSONSerializer).enqueue("os.getcwd")
    result = jobkit("queues", "ls")
    assert result.stdout.splitlines()[-1].split()[:2] == ["theirs*", "1"]
    assert result.stderr == "* not declared by this app\n"
