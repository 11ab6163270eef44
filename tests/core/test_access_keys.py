from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from outline_lb.base.secret import Secret, SecretUrl
from outline_lb.config.access_keys import for_apps, for_upstream, reveal
from outline_lb.datapath.access import AccessKey

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def key(url: str, secret: str = "Secret0", user: str = "ann", packets: str | None = None) -> AccessKey:
    return AccessKey(user, SecretUrl(url), "aes-256-gcm", Secret(secret), SecretUrl(packets) if packets else None)


def yaml(text: str) -> Any:
    return YAML(typ="safe").load(text)


def test_plain_listener_has_an_ss_url() -> None:
    assert for_apps(key("tcp://server.example:8388")) == "ss://YWVzLTI1Ni1nY206U2VjcmV0MA@server.example:8388#ann\n"


@given(secret=texts, user=texts)
def test_any_secret_and_any_name_go_through_an_ss_url(secret: str, user: str) -> None:
    parts = urlsplit(for_apps(key("tcp://[2001:db8::1]:8388", secret, user)).removesuffix("\n"))
    assert parts.username
    padded = parts.username + "=" * (-len(parts.username) % 4)
    assert base64.urlsafe_b64decode(padded).decode() == f"aes-256-gcm:{secret}"
    assert (parts.hostname, parts.port, unquote(parts.fragment)) == ("2001:db8::1", 8388, user)


@given(secret=texts)
def test_websocket_listener_has_a_dynamic_key(secret: str) -> None:
    transport = yaml(for_apps(key("wss://server.example/SECRET_PATH/tcp", secret)))["transport"]
    tunnel = {
        "$type": "shadowsocks",
        "endpoint": {"$type": "websocket", "url": "wss://server.example/SECRET_PATH/tcp"},
        "cipher": "aes-256-gcm",
        "secret": secret,
    }
    assert transport == {"$type": "tcpudp", "tcp": tunnel, "udp": tunnel}, "without udp, an app would send datagrams past the server"


@given(secret=texts)
def test_dynamic_key_of_a_server_for_packets_says_where_they_go(secret: str) -> None:
    text = for_apps(key("wss://server.example/SECRET_PATH/tcp", secret, packets="wss://server.example/SECRET_PATH/udp"))
    transport = yaml(text)["transport"]
    tunnel = {"$type": "shadowsocks", "cipher": "aes-256-gcm", "secret": secret}
    endpoints = [{"$type": "websocket", "url": f"wss://server.example/SECRET_PATH/{name}"} for name in ("tcp", "udp")]
    assert transport == {"$type": "tcpudp", "tcp": {**tunnel, "endpoint": endpoints[0]}, "udp": {**tunnel, "endpoint": endpoints[1]}}
    assert "carries no UDP" not in text


def test_ss_url_of_a_server_for_packets_is_the_same() -> None:
    url = "tcp://server.example:8388"
    assert for_apps(key(url, packets="udp://server.example:8388")) == for_apps(key(url)), "such a URL means both"


@pytest.mark.parametrize(
    ("url", "packets"),
    [("wss://server.example/SECRET_PATH/tcp", "wss://server.example/SECRET_PATH/udp"), ("tcp://server.example:8388", "udp://server.example:8388")],
)
def test_our_own_configuration_says_where_packets_go(url: str, packets: str) -> None:
    line = for_upstream(key(url, packets=packets), "server")
    assert line.count("\n") == 1
    assert yaml(line) == {"server": {"tcp": url, "udp": packets, "cipher": "aes-256-gcm", "secret": "Secret0"}}


@given(secret=texts)
def test_our_own_configuration_says_the_same(secret: str) -> None:
    line = for_upstream(key("wss://server.example:8443/SECRET_PATH/tcp", secret), "server")
    assert line.count("\n") == 1
    assert yaml(line) == {"server": {"tcp": "wss://server.example:8443/SECRET_PATH/tcp", "cipher": "aes-256-gcm", "secret": secret}}


@pytest.mark.parametrize(
    "url",
    [
        *("tcp://server.example:443", "tcp://[::1]:8388", "ws://server.example/", "ws://server.example:8080/x"),
        *("wss://server.example/x?y=z", "wss://[2001:db8::1]/x", "wss://server.example:80/x"),
    ],
)
def test_revealed_url_says_its_path_and_no_port_that_goes_without_saying(url: str) -> None:
    assert reveal(SecretUrl(url)) == url
