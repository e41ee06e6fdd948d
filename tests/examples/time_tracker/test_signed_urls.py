import pytest
from time_tracker.signed_urls import SignatureRefused, presign, verify

SECRET = b"key of the store"
URL = presign("http://files", "t_acme/a b.png", secret=SECRET, expires=1000)
TARGET = URL.removeprefix("http://files")


def test_a_signed_url_names_its_file() -> None:
    """A URL that is good leads to its file, odd characters included."""
    assert verify(TARGET, secret=SECRET, now=999.9) == "t_acme/a b.png"


def test_an_expired_url_is_refused() -> None:
    """At its expiry a URL is no longer good."""
    with pytest.raises(SignatureRefused, match="expired 0 s ago"):
        verify(TARGET, secret=SECRET, now=1000)


@pytest.mark.parametrize(
    "changed",
    [
        TARGET.replace("expires=1000", "expires=9999"),
        TARGET.replace("t_acme", "t_globex"),
        TARGET.split("&")[0],
        TARGET.replace("signature=", "signature=%C3%A9"),
    ],
)
def test_a_changed_url_is_refused(changed: str) -> None:
    """A URL with another file, another expiry or another signature is refused."""
    with pytest.raises(SignatureRefused, match="signature does not belong"):
        verify(changed, secret=SECRET, now=0)


def test_a_url_without_expiry_is_refused() -> None:
    """A URL must say until when it is good."""
    with pytest.raises(SignatureRefused, match=r"expected \?expires="):
        verify("/t_acme/a.png?signature=1", secret=SECRET, now=0)


def test_another_stores_key_is_refused() -> None:
    """A URL that was signed with another key is refused."""
    with pytest.raises(SignatureRefused, match="signature does not belong"):
        verify(TARGET, secret=b"another", now=0)
