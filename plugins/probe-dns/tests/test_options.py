from __future__ import annotations

from typing import Any

import pytest

from outline_lb.api import Address
from outline_lb_probe_dns.message import question
from outline_lb_probe_dns.options import SERVERS, Options


def parse(**nodes: Any) -> Options:
    return Options.parse({"servers": list(SERVERS), "name": "example.com", "record": "A"} | nodes)


def test_by_default_two_public_servers_are_asked_for_example_com() -> None:
    assert parse() == Options((Address("1.1.1.1", 53), Address("8.8.8.8", 53)), question("example.com", 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.1.1.1", Address("1.1.1.1", 53)),
        ("1.1.1.1:5353", Address("1.1.1.1", 5353)),
        ("[2001:db8::1]", Address("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", Address("2001:db8::1", 5353)),
        ("dns.example", Address("dns.example", 53)),
        ("dns.example:5353", Address("dns.example", 5353)),
    ],
)
def test_servers(text: str, expected: Address) -> None:
    assert parse(servers=text).servers == parse(servers=[text]).servers == (expected,)


@pytest.mark.parametrize(
    "text", ["", "a b", "1.1.1.1:", "1.1.1.1:x", "1.1.1.1:99999", "2001:db8::1", "[1.1.1.1]", "[", "]", "[]", ":53", "dns.ex\xe4mple"]
)
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ValueError, match=r"^servers: "):
        parse(servers=[text])


def test_another_question() -> None:
    assert parse(name="www.example.org", record="AAAA").question == question("www.example.org", 28)


def test_what_is_no_name() -> None:
    with pytest.raises(ValueError, match=r"^name: 'a b' is no host name"):
        parse(name="a b")
