from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

import pytest

from jobkit.errors import ConfigurationError, DeclarationError, UnknownQueue
from jobkit.policies import Retention, Retry
from jobkit.queues import QueueSet, QueueSpec, normalised


class Queues(StrEnum):
    INVOICES = "invoice-processing"


def override(**values: Any) -> SimpleNamespace:
    """What the environment changes of a queue."""
    return SimpleNamespace(**{"concurrency": None, "timeout": None, "attempts": None} | values)


def test_defaults() -> None:
    """A queue needs its name only."""
    spec = QueueSpec(Queues.INVOICES)
    assert type(spec.name) is str
    assert (spec.name, spec.concurrency, spec.timeout) == ("invoice-processing", 10, 180.0)
    assert (spec.retry, spec.retention) == (Retry(), Retention())
    assert QueueSpec("q", timeout=timedelta(minutes=1)).timeout == 60.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: QueueSpec("q", concurrency=0),
            r"QueueSpec\(concurrency=\): expected a whole number of 1 or more, got 0",
        ),
        (lambda: QueueSpec("q", concurrency=True), "whole number"),
        (lambda: QueueSpec("q", concurrency="4"), "whole number"),
        (lambda: QueueSpec("q", timeout=-1), r"QueueSpec\(timeout=\): expected more than 0 seconds, got -1"),
        (lambda: QueueSpec("q", timeout="60"), "expected seconds .*got '60'"),
        (lambda: QueueSpec("q", retry=3), r"QueueSpec\(retry=\): expected a Retry, got 3"),
        (lambda: QueueSpec("q", retry=Retry), r"did you mean Retry\(\.\.\.\)"),
        (lambda: QueueSpec("q", retention=100), r"QueueSpec\(retention=\): expected a Retention, got 100"),
        (lambda: QueueSpec("q", concurency=3), "unknown option 'concurency'; did you mean 'concurrency'"),
        (lambda: QueueSpec("q", 4), "at most 1 positional"),
        (lambda: QueueSpec("a b"), r"QueueSpec\(name\): expected"),
        (QueueSpec, "QueueSpec: expected name"),
    ],
)
def test_wrong_specs_are_told_when_made(make: Callable[[], Any], message: str) -> None:
    """A wrong or misspelt option names itself, what was expected and what came."""
    with pytest.raises(DeclarationError, match=message):
        make()


def test_a_set_finds_its_queues_and_suggests() -> None:
    """An unknown name raises with the nearest and the declared ones."""
    queues = QueueSet([QueueSpec(Queues.INVOICES), QueueSpec("mail")])
    assert queues.names == ("invoice-processing", "mail")
    assert queues.get(Queues.INVOICES).name == "invoice-processing"
    assert "mail" in queues
    assert len(queues) == 2
    with pytest.raises(UnknownQueue, match=r"unknown queue 'mial'; did you mean 'mail'.*'invoice-processing'"):
        queues.get("mial")


def test_names_that_meet_are_refused() -> None:
    """Two queues that one environment variable would mean, or the same queue twice, refuse to start."""
    assert normalised("invoice-processing") == normalised("invoice.processing") == "INVOICE_PROCESSING"
    with pytest.raises(
        DeclarationError, match=r"'a-b' and 'a.b' meet in the environment variable JOBKIT_QUEUES__A_B__"
    ):
        QueueSet([QueueSpec("a-b"), QueueSpec("a.b")])
    with pytest.raises(DeclarationError, match="meet"):
        QueueSet([QueueSpec("a"), QueueSpec("a")])


@pytest.mark.parametrize("queues", ["mail", ["mail"], QueueSpec("mail"), {"mail": 1}, None, 3])
def test_what_is_no_queue_is_refused(queues: Any) -> None:
    """A name, a lone spec or anything else in place of a list of specs is told."""
    with pytest.raises(DeclarationError, match="queues=: expected"):
        QueueSet(queues)


def test_overrides() -> None:
    """The environment changes what it names and leaves the rest."""
    spec = QueueSpec(Queues.INVOICES, timeout=60, retry=Retry(attempts=4))
    changed = QueueSet([spec], {"invoice_processing": override(concurrency=2, attempts=1)}).get(spec.name)
    assert (changed.concurrency, changed.timeout, changed.retry) == (2, 60.0, Retry(attempts=1))
    assert QueueSet([spec], {"INVOICE_PROCESSING": override(timeout=5)}).get(spec.name).timeout == 5.0
    with pytest.raises(
        ConfigurationError, match=r"JOBKIT_QUEUES__INVOICE_PROCESING__.*did you mean 'INVOICE_PROCESSING'"
    ):
        QueueSet([spec], {"invoice_procesing": override(concurrency=2)})
