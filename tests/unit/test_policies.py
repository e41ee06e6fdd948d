from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobkit.errors import CorruptJob, DeclarationError
from jobkit.policies import LONGEST_WAIT, Exponential, Fixed, Retention, Retry


def test_exponential_waits() -> None:
    """Four attempts from 2 s by a factor of 4 wait 2, 8 and 32 seconds; the cap holds."""
    assert Retry(attempts=4, backoff=Exponential(2, factor=4)).delays() == [2.0, 8.0, 32.0]
    assert Retry(attempts=4, backoff=Exponential(2, factor=4, cap=10)).delays() == [2.0, 8.0, 10.0]
    assert Retry().delays() == [2.0, 4.0]
    assert Retry(attempts=1).delays() == []


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)])
def test_jitter_lies_on_both_sides(chance: Any, expected: object) -> None:
    """A jitter of 0.1 draws from a tenth below to a tenth above."""
    assert Retry(backoff=Exponential(10, jitter=0.1)).delay(1, lambda: chance) == pytest.approx(expected)


def test_fixed_and_callable_backoffs() -> None:
    """A fixed wait is the same each time; a function gives seconds or a timedelta."""
    assert Retry(attempts=3, backoff=Fixed(timedelta(minutes=1))).delays() == [60.0, 60.0]
    assert Retry(attempts=3, backoff=lambda failed: timedelta(seconds=failed)).delays() == [1.0, 2.0]


def test_a_callable_backoff_that_gives_no_duration_is_told() -> None:
    """What a function returns is checked when it is used."""
    with pytest.raises(DeclarationError, match="of attempt 2: expected seconds"):
        Retry(backoff=lambda failed: "soon").delay(2)


@given(base=st.floats(0.001, 1e9), factor=st.floats(1, 1e6), failed=st.integers(1, 100_000), chance=st.floats(0, 1))
def test_no_wait_is_endless(base: Any, factor: Any, failed: Any, chance: Any) -> None:
    """Whatever the numbers, a wait is finite, not negative and at most twice the longest."""
    wait = Retry(backoff=Exponential(base, factor=factor, jitter=1.0)).delay(failed, lambda: chance)
    assert 0 <= wait <= 2 * LONGEST_WAIT


@pytest.mark.parametrize(
    "retry",
    [
        Retry(),
        Retry(attempts=9, backoff=Fixed(3)),
        Retry(backoff=Fixed(0.25)),
        Retry(backoff=Exponential(1, factor=3, cap=9, jitter=0.5)),
        Retry(backoff=Exponential(0.5, factor=1.5, jitter=1)),
        Retry(backoff=Exponential(0.5, cap=60)),
    ],
)
def test_policies_travel(retry: Any) -> None:
    """A policy comes back from its wire form as it was."""
    assert Retry.from_wire(retry.to_wire()) == retry


def test_a_callable_backoff_stays_in_the_code() -> None:
    """On the wire it is a mark; the queue's own policy stands in where the record is read."""
    declared = Retry(attempts=2, backoff=lambda failed: failed)
    assert declared.to_wire() == [2, ["code"]]
    assert Retry.from_wire([5, ["code"]], declared) == Retry(attempts=5, backoff=declared.backoff)
    assert Retry.from_wire([5, ["code"]]) == Retry(attempts=5)


@pytest.mark.parametrize(
    "wire", [[], [3], ["3", ["fixed", 1]], [3, ["fixed", "x"]], [3, ["linear", 1]], {"a": 1}, None]
)
def test_a_corrupt_policy_is_told(wire: Any) -> None:
    """What no policy wrote makes the job corrupt."""
    with pytest.raises(CorruptJob, match="retry policy"):
        Retry.from_wire(wire)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Retry(backof=Fixed(1)), r"Retry: unknown option 'backof'; did you mean 'backoff'\?"),
        (lambda: Retry(3), "Retry: expected at most 0 positional.*attempts="),
        (lambda: Retry(attempts=0), r"Retry\(attempts=\): expected a whole number of 1 or more, got 0"),
        (lambda: Retry(attempts=True), r"Retry\(attempts=\): expected a whole number"),
        (lambda: Retry(attempts=2.5), r"Retry\(attempts=\): expected a whole number"),
        (lambda: Retry(backoff=Fixed), r"got the class Fixed; did you mean Fixed\(2\)"),
        (lambda: Retry(backoff=3), r"Retry\(backoff=\): expected Fixed, Exponential or a function"),
        (lambda: Retry(backoff=lambda: 1), "function of one argument"),
        (Exponential, "Exponential: expected base"),
        (lambda: Exponential(2, 4), "Exponential: expected at most 1 positional.*factor="),
        (lambda: Exponential("2s"), r"Exponential\(base\): expected seconds .*got '2s'"),
        (lambda: Exponential(True), "expected seconds"),  # noqa: FBT003 - a bool is the point
        (lambda: Exponential(0), "expected more than 0 seconds"),
        (lambda: Exponential(2, factor=0.5), r"Exponential\(factor=\): expected a number of 1 or more, got 0.5"),
        (lambda: Exponential(2, jitter=2), r"Exponential\(jitter=\): expected a number from 0 to 1, got 2"),
        (lambda: Exponential(2, cap=0), r"Exponential\(cap=\)"),
        (lambda: Fixed(-1), r"Fixed\(seconds\): expected 0 seconds or more, got -1"),
        (lambda: Retention(completed=-1), r"Retention\(completed=\): expected a whole number of 0 or more"),
        (lambda: Retention(failed="all"), r"Retention\(failed=\)"),
        (lambda: Retention(complete=1), "did you mean 'completed'"),
        (lambda: Retention(failed_age=0), "expected more than 0 seconds"),
    ],
)
def test_wrong_policies_are_told_when_made(make: Callable[[], Any], message: str) -> None:
    """A wrong or misspelt option names itself, what was expected and what came."""
    with pytest.raises(DeclarationError, match=message):
        make()


def test_an_async_backoff_is_refused() -> None:
    """The wait is computed, not awaited."""

    async def later(failed: Any) -> Any:
        return failed

    with pytest.raises(DeclarationError, match="a function"):
        Retry(backoff=later)


def test_policies_are_frozen() -> None:
    """A policy cannot be changed once it was checked."""
    with pytest.raises(AttributeError):
        Retry().attempts = 5


def test_no_wait_is_longer_than_a_year_and_a_day_whatever_the_backoff_says() -> None:
    """A wait ends within LONGEST_WAIT, for fixed waits, growing ones and functions alike."""
    for backoff in (Fixed(1e12), Exponential(1e12, jitter=1.0), lambda _: 1e12):
        assert Retry(backoff=backoff).delay(1, lambda: 1.0) == LONGEST_WAIT
