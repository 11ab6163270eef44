from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.base.address import Address
from outline_lb.base.errors import AddressError
from outline_lb.base.secret import Secret, SecretUrl

MARKER = "S3CR3T-xyz"
PERCENT = "%s %r"


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """As a plugin has them."""

    secret: Secret
    url: SecretUrl


def secrets() -> list[Secret | SecretUrl | Options]:
    secret, url = Secret(MARKER), SecretUrl(f"wss://example.com/{MARKER}?key={MARKER}")
    return [secret, url, Options(secret, url)]


@pytest.mark.parametrize("value", secrets(), ids=lambda value: type(value).__name__)
def test_no_way_of_printing_shows_it(value: Secret | SecretUrl | Options) -> None:
    ways = [
        str(value),
        repr(value),
        f"{value}",
        f"{value!r}",
        f"{value!a}",
        PERCENT % (value, value),
        format(value),
        str([value]),
        str({"a": value}),
    ]
    assert not [text for text in ways if MARKER in text]


@pytest.mark.parametrize("value", secrets(), ids=lambda value: type(value).__name__)
def test_it_is_not_serialised(value: Secret | SecretUrl | Options) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not to be pickled"):
            pickle.dumps(value, protocol)
    with pytest.raises(TypeError):
        json.dumps(value)
    with pytest.raises(TypeError):
        vars(value)
    with pytest.raises(TypeError):
        copy.deepcopy(value)


def test_as_dict_does_not_unpack_it() -> None:
    with pytest.raises(TypeError):
        dataclasses.asdict(Options(Secret(MARKER), SecretUrl(f"wss://example.com/{MARKER}")))


def test_a_traceback_with_locals_does_not_show_it() -> None:
    def fail(secret: Secret, url: SecretUrl) -> None:
        raise RuntimeError(f"{secret} {url}")

    try:
        fail(Secret(MARKER), SecretUrl(f"wss://example.com/{MARKER}"))
    except RuntimeError as exc:
        text = "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())
        assert "***" in text
        assert MARKER not in text
    else:
        pytest.fail("it did not raise")


@pytest.mark.parametrize(
    "text",
    [
        MARKER,
        f"//{MARKER}/p",
        f"wss://host:{MARKER}/p",
        f"wss://host:99999/{MARKER}",
        f"wss://user:{MARKER}@host/p",
        f"wss://{MARKER}@host/p",
        f"wss://[{MARKER}/p",
        f"wss://[{MARKER}]/p",
        f"wss://host/p#{MARKER}",
        f"wss://host/{MARKER} x",
        f"wss://host/{MARKER}\u00e9",
        f"wss://host/{MARKER}\n",
        f"ftp://host/{MARKER}",
        f"wss:/host/{MARKER}",
        f"wss:///{MARKER}",
    ],
)
def test_a_refused_url_is_not_quoted(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        SecretUrl(text)
    assert MARKER.lower() not in str(caught.value).lower()
    assert MARKER.lower() not in "".join(traceback.format_exception(caught.value)).lower()


def test_reveal() -> None:
    assert Secret(MARKER).reveal() == MARKER
    assert SecretUrl(f"wss://example.com/{MARKER}?a=b").reveal_target() == f"/{MARKER}?a=b"


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("\udcff") != Secret("\udcfe")  # what an environment variable of other bytes becomes


def test_urls_compare_by_value() -> None:
    assert SecretUrl("wss://a/p") == SecretUrl("WSS://a:443/p")
    assert SecretUrl("wss://a/p") != SecretUrl("wss://a/q")
    assert SecretUrl("wss://a/p") != SecretUrl("ws://a:443/p")
    assert SecretUrl("wss://a/p") != "wss://a/p"
    assert len({SecretUrl("wss://a/p"), SecretUrl("wss://A/p")}) == 1


@pytest.mark.parametrize(
    ("text", "scheme", "address", "target", "shown"),
    [
        ("wss://example.com/p", "wss", Address("example.com", 443), "/p", "wss://example.com:443/***"),
        ("ws://example.com", "ws", Address("example.com", 80), "/", "ws://example.com:80/"),
        ("https://example.com/", "https", Address("example.com", 443), "/", "https://example.com:443/"),
        ("http://example.com?k=v", "http", Address("example.com", 80), "/?k=v", "http://example.com:80/***"),
        ("WSS://Example.COM:8443/P%20x?q=1&r", "wss", Address("example.com", 8443), "/P%20x?q=1&r", "wss://example.com:8443/***"),
        ("wss://[2001:DB8::1]/p", "wss", Address("2001:db8::1", 443), "/p", "wss://[2001:db8::1]:443/***"),
        ("tcp://[::1]:8388", "tcp", Address("::1", 8388), "/", "tcp://[::1]:8388/"),
        ("tcp://10.0.0.1:8388", "tcp", Address("10.0.0.1", 8388), "/", "tcp://10.0.0.1:8388/"),
    ],
)
def test_urls(text: str, scheme: str, address: Address, target: str, shown: str) -> None:
    url = SecretUrl(text)
    assert (url.scheme, url.address, url.reveal_target(), str(url)) == (scheme, address, target, shown)
    assert repr(url) == f"SecretUrl({shown})"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40).map(lambda text: f"wss://{text}") | st.text(max_size=40))
def test_text_is_a_url_or_an_address_error(text: str) -> None:
    try:
        url = SecretUrl(text)
    except AddressError:
        return
    target = url.reveal_target()
    assert target.startswith("/")
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
