from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outline_lb.api import Address, Packet, encode_address
from outline_lb_frontend_socks5.udp_header import HeaderError, UdpHeaders, read_header, write_header

NAME = Address("example.com", 443)
IPV4 = Address("192.0.2.1", 53)
IPV6 = Address("2001:db8::1", 65535)

hosts = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z]{1,63}(\.[a-z]{1,63}){0,2}", fullmatch=True),
)
packets = st.builds(Packet, st.builds(Address, hosts, st.integers(0, 65535)), st.binary(max_size=2000))


def header(address: Address, reserved: bytes = b"\0\0", fragment: int = 0) -> bytes:
    return reserved + bytes((fragment,)) + encode_address(address)


@pytest.mark.parametrize("target", [IPV4, IPV6, NAME, Address("x", 0)], ids=str)
@pytest.mark.parametrize("payload", [b"", b"x", b"hello" * 1000], ids=len)
def test_a_datagram_names_its_target(target: Address, payload: bytes) -> None:
    headers = UdpHeaders(10)
    for _ in range(2):  # unknown, then known
        assert headers.open(header(target) + payload) == Packet(target, payload)


def test_an_answer_names_its_source() -> None:
    headers = UdpHeaders(10)
    for _ in range(2):
        assert headers.seal(Packet(IPV4, b"hello")) == b"\0\0\0\1\xc0\0\2\1\0\x35hello"
        assert headers.seal(Packet(IPV6, b"")) == b"\0\0\0\4\x20\1\x0d\xb8" + bytes(11) + b"\1\xff\xff"


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "whole header"),
        (header(IPV4)[:-1], "whole header"),
        (header(IPV6)[:-1], "whole header"),
        (header(NAME)[:-1], "whole header"),
        (b"\0\0\0\1\x7f\0\0", "whole header"),
        (header(IPV4, fragment=1) + b"x", "fragment"),
        (header(IPV4, fragment=0x80) + b"x", "fragment"),
        (header(IPV4, reserved=b"\1\0") + b"x", "reserved"),
        (header(IPV4, reserved=b"\0\1") + b"x", "reserved"),
        (b"\0\0\0\2" + bytes(30), "unknown type"),
        (b"\0\0\0\0" + bytes(30), "unknown type"),
        (b"\0\0\0\3\0\0\x50payload", "no host name"),
        (b"\0\0\0\3\7a\r\nX: y\0\x50", "no host name"),
        (b"\0\0\0\3\4a..b\0\x50", "no host name"),
    ],
)
def test_what_no_client_should_send(datagram: bytes, reason: str) -> None:
    headers = UdpHeaders(10)
    for _ in range(2):
        with pytest.raises(HeaderError, match=reason):
            headers.open(datagram)


def test_a_known_target_does_not_let_a_fragment_for_it_through() -> None:
    headers = UdpHeaders(10)
    headers.open(header(IPV4) + b"whole")
    with pytest.raises(HeaderError, match="fragment"):
        headers.open(header(IPV4, fragment=1) + b"part")


@given(packets)
def test_what_was_written_is_read(packet: Packet) -> None:
    headers = UdpHeaders(2)
    assert headers.open(headers.seal(packet)) == packet
    assert read_header(write_header(packet.address)) == packet.address


@given(st.lists(st.one_of(st.binary(max_size=300), packets.map(UdpHeaders(1).seal)), max_size=20))
def test_any_bytes_are_a_packet_or_an_error_and_never_depend_on_what_came_before(datagrams: list[bytes]) -> None:
    headers = UdpHeaders(3)
    for datagram in datagrams:
        expected = opened = None
        with contextlib.suppress(HeaderError):
            expected = UdpHeaders(1).open(datagram)
        with contextlib.suppress(HeaderError):
            opened = headers.open(datagram)
        assert opened == expected
        assert opened is None or datagram.endswith(opened.data)


def test_what_is_remembered_is_bounded_and_the_least_recently_used_goes() -> None:
    headers, targets = UdpHeaders(3), [Address("192.0.2.1", port) for port in range(5)]
    read = {target: headers.open(header(target)).address for target in targets[:3]}
    assert headers.open(header(targets[0])).address is read[targets[0]]
    headers.open(header(targets[3]))  # in place of 1, for 0 was used after it
    assert headers.open(header(targets[0])).address is read[targets[0]]
    assert headers.open(header(targets[2])).address is read[targets[2]]
    assert headers.open(header(targets[1])).address is not read[targets[1]]


def test_thousands_of_targets_and_sources_take_no_memory() -> None:
    headers = UdpHeaders(3)
    for port in range(5000):
        packet = Packet(Address("192.0.2.1", port), b"x")
        assert headers.open(headers.seal(packet)) == packet
    assert len(headers._targets) == len(headers._sources) == 3
