from __future__ import annotations

import ipaddress
import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outline_lb.base.address import Address, AddressTypeError, decode_address, encode_address, is_public
from outline_lb.base.errors import AddressError

label = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=63)
names = st.lists(label, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) <= 253)
hosts = st.one_of(names, st.ip_addresses().map(str))
addresses = st.builds(Address.of, hosts, st.integers(0, 65535))
quick = settings(max_examples=150, deadline=None)


@quick
@given(addresses)
def test_text_round_trip(address: Address) -> None:
    assert Address.parse(str(address)) == address


@quick
@given(addresses, st.binary(max_size=20))
def test_wire_round_trip(address: Address, rest: bytes) -> None:
    wire = encode_address(address)
    assert decode_address(wire + rest) == (address, len(wire))
    assert decode_address(memoryview(bytearray(wire + rest))) == (address, len(wire))


@quick
@given(addresses)
def test_the_wire_wants_more_until_it_is_whole(address: Address) -> None:
    wire = encode_address(address)
    assert all(decode_address(wire[:size]) is None for size in range(len(wire)))


@quick
@given(st.binary(max_size=300))
def test_bytes_are_an_address_or_an_address_error(data: bytes) -> None:
    try:
        found = decode_address(data)
    except AddressError:
        return
    assert found is None or encode_address(found[0]) == data[: found[1]] or data[0] == 3


@quick
@given(st.text(max_size=80))
@example("fe80::1%\r\nX: y")
@example("::1%eth0")
@example("1" * 5000)
def test_a_host_is_of_harmless_characters_or_refused(text: str) -> None:
    try:
        address = Address.of(text, 80)
    except AddressError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_.:-]+", address.host)


@quick
@given(st.text(max_size=80))
@example("a:" + "9" * 5000)
def test_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert 0 <= address.port <= 65535
    assert str(address).isprintable()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:1080", "127.0.0.1", 1080),
        ("[::1]:0", "::1", 0),
        ("[2001:DB8:0:0::1]:65535", "2001:db8::1", 65535),
        ("example.com:443", "example.com", 443),
        ("example.com.:443", "example.com.", 443),
        ("_dns.x-1:53", "_dns.x-1", 53),
    ],
)
def test_parse(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":80",
        "host",
        "host:",
        "host:65536",
        "host:-1",
        "host:+1",
        "host: 1",
        "host:\u0661",
        "host:000080",
        "::1",
        "::1:80",
        "[::1]",
        "[host]:80",
        "[127.0.0.1]:80",
        "[::1%eth0]:80",
        "a b:80",
        "a\n:80",
        "a..b:80",
        ".:80",
        "-" * 64 + ":80",
        ("a" * 63 + ".") * 4 + "a:80",
        "b\u00fccher.example:80",
        "h\x00st:80",
        "user@host:80",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


def test_messages_quote_no_more_than_a_line() -> None:
    for text in ("x" * 5000, "x:" + "y" * 5000, "[x]:1" + "0" * 5000, "!" * 5000 + ":80"):
        with pytest.raises(AddressError) as caught:
            Address.parse(text)
        assert len(str(caught.value)) < 200


def test_the_longest_name() -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(name) == 253
    wire = encode_address(Address.of(name + ".", 1))
    assert wire[1] == 254
    assert decode_address(wire) == (Address(name + ".", 1), len(wire))


@pytest.mark.parametrize(
    ("wire", "address"),
    [
        (b"\x01\x7f\x00\x00\x01\x04\x38", Address("127.0.0.1", 1080)),
        (b"\x03\x0bexample.com\x00\x50", Address("example.com", 80)),
        (b"\x04" + bytes(15) + b"\x01\x01\xbb", Address("::1", 443)),
        (b"\x03\x093.1.33.70\x00\x50", Address("3.1.33.70", 80)),  # an address that came as a name
    ],
)
def test_decode(wire: bytes, address: Address) -> None:
    assert decode_address(wire) == (address, len(wire))


@pytest.mark.parametrize("kind", [0, 2, 5, 255])
def test_an_unknown_type_has_an_error_of_its_own(kind: int) -> None:
    with pytest.raises(AddressTypeError):
        decode_address(bytes((kind, 0)))


@pytest.mark.parametrize("name", [b"", b"a\r\nX: y", b"\x00", b"fe80::1%\r\nX: y", b"caf\xc3\xa9", b"a b", b"."])
def test_a_name_from_the_wire_cannot_carry_anything_else(name: bytes) -> None:
    with pytest.raises(AddressError):
        decode_address(bytes((3, len(name))) + name + b"\x00\x50")


def test_ip() -> None:
    assert Address("::1", 1).ip == ipaddress.IPv6Address("::1")
    assert Address("10.0.0.1", 1).ip == ipaddress.IPv4Address("10.0.0.1")
    assert Address("example.com", 1).ip is None


@pytest.mark.parametrize(
    "ip",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_is_public(ip: str) -> None:
    assert is_public(ipaddress.ip_address(ip))


@pytest.mark.parametrize(
    "ip",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.255.255.255",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:808:808::f7f7:f7f7",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_is_not_public(ip: str) -> None:
    assert not is_public(ipaddress.ip_address(ip))
