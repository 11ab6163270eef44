from __future__ import annotations

from typing import Any

import pytest

from outline_lb.api import Address, ClientTls, Secret
from outline_lb_transport_ws_h1.options import ConnectOptions, ListenOptions, ServerTls
from outline_lb_transport_ws_h1.schema import CONNECT

CONNECT_DEFAULTS = {name: node["default"] for name, node in CONNECT["properties"].items()}
LISTEN_DEFAULTS = {
    "address": "127.0.0.1:8000",
    "path": Secret("/"),
    "tls": None,
    "handshake_timeout": "10s",
    "half_close": "close-frame",
    "half_close_timeout": "2s",
    "packet_path": None,
}


def connect(**given: Any) -> ConnectOptions:
    return ConnectOptions.parse({**CONNECT_DEFAULTS, **given})


def listen(**given: Any) -> ListenOptions:
    return ListenOptions.parse({**LISTEN_DEFAULTS, **given})


def test_connect_defaults() -> None:
    assert connect() == ConnectOptions(ClientTls(), (("User-Agent", Secret("outline-lb/0.1")),), 10.0, None)


def test_connect_everything() -> None:
    tls = {"ca": "/ca.pem", "pins": ["sha256/x"], "server_name": "hidden.example", "insecure": True}
    options = connect(
        tls=tls, headers={"user-agent": Secret("x"), "X-Y": Secret("z")}, connect_timeout="1m", half_close="defer", half_close_timeout="5s"
    )
    headers = (("user-agent", Secret("x")), ("X-Y", Secret("z")))
    assert options == ConnectOptions(ClientTls("/ca.pem", ("sha256/x",), "hidden.example", True), headers, 60.0, 5.0)


def test_options_compare_by_value_and_do_not_show_secrets() -> None:
    one, two = (connect(headers={"Authorization": Secret("Bearer hush")}) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert "hush" not in repr(one)
    assert listen(path=Secret("/hush")) == listen(path=Secret("/hush"))
    assert "hush" not in repr(listen(path=Secret("/hush")))


def test_half_close_timeout_matters_only_when_deferring() -> None:
    assert connect(half_close_timeout="5s").defer_eof_timeout is None


@pytest.mark.parametrize(
    "name",
    ["Host", "UPGRADE", "Connection", "Sec-WebSocket-Key", "sec-websocket-protocol", "Content-Length", "Transfer-Encoding", "a b", "a:", "", "ä"],
)
def test_header_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="headers: "):
        connect(headers={name: Secret("hush")})


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "\0", "€"])
def test_header_values_that_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="the value of X-Y") as caught:
        connect(headers={"X-Y": Secret(value)})
    assert value not in str(caught.value)


def test_header_may_be_there_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        connect(headers={"x-y": Secret("a"), "X-Y": Secret("b")})


@pytest.mark.parametrize("name", ["", "a b", "*.example.com", "a..b"])
def test_server_name_is_a_host(name: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        connect(tls={"ca": None, "pins": [], "server_name": name, "insecure": False})


@pytest.mark.parametrize("given", [{"connect_timeout": "0s"}, {"half_close": "defer", "half_close_timeout": "0ms"}, {"connect_timeout": "soon"}])
def test_timeouts_that_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"longer than nothing|no duration"):
        connect(**given)


def test_listen_defaults() -> None:
    assert listen() == ListenOptions(Address("127.0.0.1", 8000), Secret("/"), None, 10.0)


def test_the_listeners_end_waits_if_it_is_told_to() -> None:
    assert listen().defer_eof_timeout is None
    assert listen(half_close="defer").defer_eof_timeout == 2.0


def test_listen_with_tls() -> None:
    assert listen(tls={"certificate": "/c.pem", "key": "/k.pem"}).tls == ServerTls("/c.pem", "/k.pem")


@pytest.mark.parametrize("path", ["", "hush", "/hush?", "/hush#x", "/hush hush", "/hüsh", "/hush\r\n"])
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path: ") as caught:
        listen(path=Secret(path))
    assert "hush" not in str(caught.value)


def test_packets_may_have_a_path() -> None:
    assert listen().packet_path is None
    assert listen(packet_path=Secret("/hush/udp")).packet_path == Secret("/hush/udp")
    assert "hush" not in repr(listen(packet_path=Secret("/hush/udp")))


@pytest.mark.parametrize("path", ["", "hush", "/hush?", "/hüsh"])
def test_packet_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="packet_path: ") as caught:
        listen(packet_path=Secret(path))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("path", ["/hush", "/h%75sh"])
def test_packets_need_a_path_of_their_own(path: str) -> None:
    with pytest.raises(ValueError, match="packet_path: is the same as path") as caught:
        listen(path=Secret("/hush"), packet_path=Secret(path))
    assert "hush" not in str(caught.value)


def test_messages_with_packets_are_as_large_as_outline_s_server_takes_them() -> None:
    assert connect().packet_max_message == 4088
    assert connect(packet_max_message=65_600).packet_max_message == 65_600


def test_handshake_timeout_is_longer_than_nothing() -> None:
    with pytest.raises(ValueError, match="handshake_timeout"):
        listen(handshake_timeout="0s")
