from __future__ import annotations

import pytest

from outline_lb.api import Address
from outline_lb_probe_http.options import URL, Options


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, Options(Address("connectivitycheck.gstatic.com", 80), "connectivitycheck.gstatic.com", "/generate_204")),
        ("http://example.com", Options(Address("example.com", 80), "example.com", "/")),
        ("http://example.com:8080/a?b=c", Options(Address("example.com", 8080), "example.com:8080", "/a?b=c")),
        ("http://[2001:db8::1]/", Options(Address("2001:db8::1", 80), "[2001:db8::1]", "/")),
    ],
)
def test_urls(url: str, expected: Options) -> None:
    assert Options.parse({"url": url}) == expected


@pytest.mark.parametrize(
    "url", ["http://", "http:///x", "http://a b/", "http://u@a/", "http://a/#f", "http://a:99999/", "http://ä/", "http://a/\x7f"]
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)url|address|host|port"):
        Options.parse({"url": url})
