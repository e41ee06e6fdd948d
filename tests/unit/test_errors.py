from typing import Any, Never

import pytest

from jobkit import errors


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("backof", "; did you mean 'backoff'?"),
        ("BACKOFF", "; did you mean 'backoff'?"),
        ("att", "; did you mean 'attempts'?"),
        ("colour", ""),
        ("", ""),
    ],
)
def test_did_you_mean(word: str, expected: object) -> None:
    """The nearest known word is suggested, in any case or cut short; nothing where none is near."""
    assert errors.did_you_mean(word, ["attempts", "backoff"]) == expected


def test_interruptions_pass_except_exception() -> None:
    """A processor's `except Exception` catches no interruption."""
    for cls in (errors.LostClaim, errors.JobTimeout, errors.JobStopped):
        assert issubclass(cls, errors.Interruption)
        assert not issubclass(cls, Exception)


def test_every_error_is_in_the_drawn_tree() -> None:
    """The module's docstring names each exception class, and each is a JobkitError or an Interruption."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BaseException)]
    assert len(classes) > 25
    for each in classes:
        assert each.__name__ in errors.__doc__
        assert issubclass(each, errors.JobkitError | errors.Interruption)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.DeclarationError, TypeError),
        (errors.ConfigurationError, ValueError),
        (errors.WrongPayload, ValueError),
        (errors.NotSerialisable, ValueError),
        (errors.ResultTimeout, TimeoutError),
        (errors.JobNotFound, LookupError),
        (errors.MissingProvider, LookupError),
        (errors.ServicesRefused, AttributeError),
        (errors.ScopeClosed, RuntimeError),
        (errors.StoreUnavailable, ConnectionError),
    ],
)
def test_errors_are_caught_by_their_builtin_kin(cls: Any, builtin: Any) -> Never:
    """Code that knows only Python's own exceptions catches ours, and reads the message as it was written."""
    with pytest.raises(builtin, match=r"^what to do$"):
        raise cls("what to do")
