"""A job's lane from its payload, and a queue's rules as its scripts read them."""

import json
from typing import Any

import pytest

from jobkit.errors import DeclarationError
from jobkit.flow import LONGEST_VALUE, SEPARATOR, Lanes, rules
from jobkit.limits import MaxRunning, Priority, RateLimit
from jobkit.payloads import Payload, kind
from jobkit.queues import QueueSpec


class Work(Payload, name="work", queue="q"):
    tenant: str = "t"
    n: int = 0


class Only(Payload, name="only", queue="q", mutex="only:{tenant}"):
    tenant: str = "t"


def flow(payload: Payload[Any], priority: Priority = Priority.NORMAL, **options: Any) -> dict[str, Any]:
    """What the enqueue script is told."""
    cls = type(payload)
    return Lanes.of(QueueSpec("q", **options), kind(cls), cls.model_fields).flow(payload, priority)


def pieces(payload: Payload[Any], **options: Any) -> list[str]:
    """The pieces of the lane."""
    found: list[str] = flow(payload, **options)["l"].split(SEPARATOR)
    return found


def test_a_job_without_limits_of_its_own_has_no_lane() -> None:
    """A queue that limits itself as a whole stays plain."""
    assert flow(Work()) == {}
    assert flow(Work(), rate_limit=RateLimit(1, per=1), max_running=3) == {}


def test_a_lane_names_key_limits_and_mutex() -> None:
    """The fair key comes first, then each limit by key, then the mutex."""
    options = {
        "fair_by": "tenant",
        "rate_limit": [RateLimit(1, per=1, key="tenant"), RateLimit(9, per=60, key="tenant")],
        "max_running": [MaxRunning(2, key="tenant"), MaxRunning(5)],
    }
    assert pieces(Only(), **options) == ["t", "rate/tenant=t", "rate/tenant/2=t", "run/tenant=t", "mutex=only:t"]


@pytest.mark.parametrize("value", ["a" * (LONGEST_VALUE + 1), "a\x1fb", "a\nb", "\ud800", "\x00"])
def test_values_that_no_name_can_hold_are_digested(value: str) -> None:
    """A long value, and one with characters that cannot be seen, is named by its digest; others differ."""
    work = Work.model_construct(tenant=value)
    (name,) = pieces(work, fair_by="tenant")
    assert len(name) == 32
    assert json.dumps(name).isascii()
    assert pieces(Work.model_construct(tenant=value + "x"), fair_by="tenant") != [name]


def test_priorities_are_milliseconds_of_ageing() -> None:
    """A step of priority is worth the queue's ageing; without one there is none."""
    assert [flow(Work(), each, ageing=1.5)["b"] for each in Priority] == [1500, 0, -1500]
    with pytest.raises(DeclarationError, match="add QueueSpec"):
        flow(Work(), Priority.LOW)


@pytest.mark.parametrize(
    "options",
    [
        {"fair_by": "tenent"},
        {"rate_limit": RateLimit(1, per=1, key="tenent")},
        {"max_running": MaxRunning(1, key="tenent")},
    ],
)
def test_a_field_that_is_not_there_is_named(options: dict[str, Any]) -> None:
    """A rule by a field that a payload has not is refused with the nearest."""
    with pytest.raises(DeclarationError, match="did you mean 'tenant'"):
        flow(Work(), **options)


def test_rules_as_told() -> None:
    """Windows are in ms; a queue without limits has no text, unless revisions are counted."""
    assert rules(QueueSpec("q"), 0) == ""
    assert json.loads(rules(QueueSpec("q"), 3)) == {"rev": 3, "keyed": {}}
    spec = QueueSpec(
        "q",
        rate_limit=[RateLimit(5, per=0.5), RateLimit(7, per=1, key="n")],
        max_running=[MaxRunning(4), MaxRunning(2, key="tenant")],
        fair_by="tenant",
        weights={"big": 2, "x" * 200: 3},
    )
    told = json.loads(rules(spec, 0))
    assert told["rate"] == [[5, 500]]
    assert told["run"] == 4
    assert told["keyed"] == {"rate/n": [7, 1000], "run/tenant": [2]}
    assert told["weights"]["big"] == 2
    assert "x" * 200 not in told["weights"]
