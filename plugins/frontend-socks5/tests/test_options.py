from __future__ import annotations

from typing import Any

import pytest

from outline_lb.api import Address, Secret
from outline_lb_frontend_socks5.options import SCHEMA, Options, UdpOptions

DEFAULTS = {name: node["default"] for name, node in SCHEMA["properties"].items()}


def parse(**given: Any) -> Options:
    return Options.parse({**DEFAULTS, **given})


def test_the_defaults_are_for_this_machine_only() -> None:
    assert parse() == Options(Address("127.0.0.1", 1080), {}, UdpOptions(300.0, 1024, 512))


def test_packets_can_be_bounded_and_switched_off() -> None:
    assert parse(udp_idle_timeout="1m30s", max_associations=5, max_targets=7).udp == UdpOptions(90.0, 5, 7)
    assert parse(udp=False, max_associations=5).udp is None


@pytest.mark.parametrize("udp", [True, False])
def test_no_association_is_idle_for_nothing(udp: bool) -> None:
    with pytest.raises(ValueError, match=r"udp_idle_timeout: .*: write .* 5m"):
        parse(udp_idle_timeout="0s", udp=udp)


def test_equal_text_gives_equal_options() -> None:
    assert parse(users={"alice": Secret("x")}) == parse(users={"alice": Secret("x")})
    assert parse(users={"alice": Secret("x")}) != parse(users={"alice": Secret("y")})


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.9.1:1080", "[::1]:1080"])
def test_loopback_needs_no_users(listen: str) -> None:
    assert parse(listen=listen).listen == Address.parse(listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:1080", "[::]:1080", "192.168.1.1:1080", "[2001:db8::1]:1080"])
def test_an_open_proxy_is_not_opened_by_accident(listen: str) -> None:
    with pytest.raises(ValueError, match=r"`users`.*`allow_open: true`") as caught:
        parse(listen=listen)
    assert listen in str(caught.value)
    assert parse(listen=listen, users={"alice": Secret("x")}).listen == Address.parse(listen)
    assert parse(listen=listen, allow_open=True).listen == Address.parse(listen)


@pytest.mark.parametrize("listen", ["localhost:1080", "127.0.0.1", "1080", "::1:1080"])
def test_a_place_that_cannot_be_listened_on(listen: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse(listen=listen)


@pytest.mark.parametrize("name", ["", "n" * 256, "é" * 128])
def test_a_name_that_no_client_could_send(name: str) -> None:
    with pytest.raises(ValueError, match="name has 1 to 255 bytes"):
        parse(users={name: Secret("x")})


@pytest.mark.parametrize("password", ["", "S3CR3T" * 50])
def test_a_password_that_no_client_could_send(password: str) -> None:
    with pytest.raises(ValueError, match="'alice': a password has 1 to 255 bytes") as caught:
        parse(users={"alice": Secret(password)})
    assert "S3CR3T" not in str(caught.value)
