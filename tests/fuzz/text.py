"""What people write: addresses, URLs, durations, and the values of the command line."""

from __future__ import annotations

import re

from fuzz.harness import Target, refusal

from outline_lb.base.address import Address
from outline_lb.base.duration import PATTERN, format_duration, parse_duration
from outline_lb.base.errors import AddressError, ConfigError
from outline_lb.base.secret import SecretUrl
from outline_lb.config.overrides import overlay, parse_option
from outline_lb.config.source import Document, parse_document

CENTURY = 100 * 366 * 24 * 3600


def host_and_port(data: bytes) -> None:
    """Read an address: what is printed of it can be read again, and is the same."""
    try:
        address = Address.parse(data.decode("utf-8", "surrogateescape"))
    except AddressError as error:
        refusal(error)
        return
    assert Address.parse(str(address)) == address
    assert str(address).isascii()
    assert str(address).isprintable()


def url(data: bytes) -> None:
    """Read a URL: nothing of its path is ever printed, and what an HTTP request would hold of it is one word."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        secret = SecretUrl(text)
    except AddressError as error:
        refusal(error)
        return
    target = secret.reveal_target()
    assert re.fullmatch(r"[!-~]+", target), "no part of a request line"
    assert SecretUrl(text) == secret
    assert 0 <= secret.address.port <= 65535
    assert str(secret) == repr(secret)[10:-1] == f"{secret.scheme}://{secret.address}/{'***' if target != '/' else ''}"


def duration(data: bytes) -> None:
    """Read a duration: what the schema accepts is one, and it fits into a timer."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        refusal(error)
        assert re.search(PATTERN, text, re.ASCII) is None or text.endswith("\n"), "the schema accepts it"
        return
    assert re.search(PATTERN, text)
    assert 0 <= seconds < CENTURY
    assert format_duration(seconds)


def override(data: bytes) -> None:
    """Lay a value of the command line over a configuration: it lies there, or it is refused without being repeated."""
    try:
        given = parse_option(data.decode("utf-8", "surrogateescape"))
    except ConfigError as error:
        refusal(error)
        return
    try:
        document = overlay(_BASE, [given])
    except ConfigError as error:
        for problem in error.problems:
            refusal(ValueError(problem.message))  # the path stands before it as it was written
        return
    assert isinstance(document.data, dict)
    assert _BASE.data == parse_document(_TEXT).data, "the document below was changed"


_TEXT = b"""
pools: {main: {health: {interval: 5s}, upstreams: [a, {name: b, weight: 2}]}}
upstreams: {a: {secret: one}, b: {secret: {env: NAME}}}
"""
_BASE: Document = parse_document(_TEXT)

TARGETS = [
    Target("address-text", host_and_port, 400),
    Target("url", url, 1000),
    Target("duration", duration, 100),
    Target("override", override, 1000),
]
