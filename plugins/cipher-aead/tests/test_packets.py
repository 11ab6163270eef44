from __future__ import annotations

import string
from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from outline_lb.api import MAX_PACKET, Address, AddressError, AddressTypeError, Packet, decode_address, encode_address
from outline_lb_cipher_aead import packets as module
from outline_lb_cipher_aead.key import master_key, subkey
from outline_lb_cipher_aead.method import METHODS, TAG, Method
from outline_lb_cipher_aead.packets import AeadPackets, address_header, header_address, open_datagram, split_header

NAMES = ("chacha20-ietf-poly1305", "aes-256-gcm", "aes-192-gcm", "aes-128-gcm")
# The secret is "Secret0", a salt is 00 01 02 and so on, and the packet is "hello" for example.com:443.
VECTORS = {
    "chacha20-ietf-poly1305": "b1006b3f8fd34c1d3f80fc26a481007adb8aee8bd1f7a85b964bb712ced24cb057740b2c",
    "aes-256-gcm": "6f3e4f6e351b9b574de2634a39a200027f76205cc00a6e983f7a7abee0d53738b007666c",
    "aes-192-gcm": "7e7f94cfefe20f0ad0466264a23f893c0e5080ba39fc35c6c0761e360b6964ad2a25492a",
    "aes-128-gcm": "885d99794599c34cf5746e0fa83b3ae68a3b58610cef75bca9221f951eff38c0b229a5f6",
}
HELLO = Packet(Address("example.com", 443), b"hello")

labels = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=63)
hosts = st.ip_addresses().map(str) | st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) <= 253)
addresses = st.builds(Address, hosts, st.integers(0, 65535))
packets = st.builds(Packet, addresses, st.binary(max_size=2000))


def codec(name: str = NAMES[0], secret: bytes = b"Secret0") -> AeadPackets:
    method = METHODS[name]
    return AeadPackets(method, master_key(secret, method.size))


def sealed(plain: bytes, method: Method = METHODS[NAMES[0]]) -> bytes:
    """Seal what may be no packet."""
    salt = bytes(method.size)
    return salt + method.aead(subkey(master_key(b"Secret0", method.size), salt)).encrypt(bytes(12), plain, None)


@pytest.mark.parametrize("name", NAMES)
def test_vectors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    salt = bytes(range(METHODS[name].size))
    monkeypatch.setattr(module, "urandom", lambda size: salt * (size // len(salt)))
    assert codec(name).seal([HELLO, HELLO]) == [salt + bytes.fromhex(VECTORS[name])] * 2
    assert codec(name).open([salt + bytes.fromhex(VECTORS[name])]) == [HELLO]


@pytest.mark.parametrize("name", NAMES)
@given(batch=st.lists(packets, min_size=1, max_size=5))
def test_what_is_sealed_can_be_opened(name: str, batch: list[Packet]) -> None:
    client, server = codec(name), codec(name)
    for _ in range(2):  # now with addresses that are known
        datagrams = client.seal(batch)
        assert len(datagrams) == len(batch)
        assert server.open(datagrams) == batch


@given(batch=st.lists(packets, min_size=1, max_size=8), damage=st.data())
def test_damaged_datagrams_are_left_out_and_the_others_are_not(batch: list[Packet], damage: st.DataObject) -> None:
    datagrams = codec().seal(batch)
    broken = damage.draw(st.sets(st.integers(0, len(batch) - 1)))
    for index in broken:
        position = damage.draw(st.integers(0, len(datagrams[index]) - 1))
        changed = datagrams[index][position] ^ damage.draw(st.integers(1, 255))
        datagrams[index] = datagrams[index][:position] + bytes((changed,)) + datagrams[index][position + 1 :]
    assert codec().open(datagrams) == [packet for index, packet in enumerate(batch) if index not in broken]


@given(st.sampled_from(NAMES), st.lists(st.binary(max_size=100), min_size=1))
def test_garbage_never_raises(name: str, garbage: list[bytes]) -> None:
    assert codec(name).open(garbage) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_cut_anywhere_is_left_out(name: str) -> None:
    [datagram] = codec(name).seal([HELLO])
    cut = [datagram[:size] for size in range(len(datagram))]
    assert codec(name).open([*cut, datagram]) == [HELLO]


@given(st.binary(max_size=300))
def test_whatever_was_sealed_never_raises(plain: bytes) -> None:
    for packet in codec().open([sealed(plain)]):
        header = plain[: len(plain) - len(packet.data)]
        assert plain == header + packet.data
        assert decode_address(header) == (packet.address, len(header))


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\0",
        b"\1",
        b"\3",
        b"\1\xc0\0\2\7\1",  # half a port
        b"\4" + bytes(17),
        b"\3\x0bexample.com\1",
        b"\3\0\1\xbb",  # a name without a letter
        b"\3\4a\r\nb\1\xbb",
        b"\3\x04a.b\0\1\xbb",
        b"\2\1\1\1\1\0\x50 no such type",
        bytes(100),
    ],
)
def test_what_holds_no_address_is_left_out(plain: bytes) -> None:
    assert codec().open([sealed(plain), *codec().seal([HELLO]), sealed(plain)]) == [HELLO]
    with pytest.raises(AddressError):
        split_header(plain)


def test_an_unknown_type_of_address_is_called_by_its_name() -> None:
    with pytest.raises(AddressTypeError, match="address type 2 is unknown"):
        split_header(b"\2\1\1\1\1\0\x50")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [b"", bytes(MAX_PACKET)], ids=["empty", "largest"])
def test_payloads_of_any_size(name: str, data: bytes) -> None:
    packet = Packet(Address("192.0.2.7", 53), data)
    [datagram] = codec(name).seal([packet])
    assert len(datagram) == METHODS[name].size + 7 + len(data) + TAG
    assert codec(name).open([datagram]) == [packet]


def test_an_address_in_ipv6_that_hides_one_in_ipv4_stays_what_it_is() -> None:
    [packet] = codec().open([sealed(b"\4" + bytes(10) + b"\xff\xff\x7f\0\0\1\0\x35")])
    assert encode_address(packet.address)[0] == 4


def test_addresses_that_begin_alike_are_told_apart() -> None:
    batch = [Packet(Address(host, port), b"\0\x35") for host in ("a", "ab", "abc", "1.1.1.1", "1.1.1.2", "::1") for port in (0, 1, 256)]
    batch = [batch[0], *batch, batch[0]]
    server = codec()
    assert server.open(codec().seal(batch)) == batch
    assert [packet for datagram in codec().seal(batch) for packet in server.open([datagram])] == batch


def test_every_packet_has_a_salt_of_its_own() -> None:
    client = codec()
    datagrams = client.seal([HELLO] * 100) + client.seal([HELLO]) + codec().seal([HELLO])
    assert len({datagram[:32] for datagram in datagrams}) == 102


def test_the_secret_and_the_method_must_be_the_same() -> None:
    [datagram] = codec().seal([HELLO])
    assert codec(secret=b"Secret1").open([datagram]) == []
    assert codec("aes-256-gcm").open([datagram]) == []
    with pytest.raises(InvalidTag):
        open_datagram(METHODS[NAMES[0]], master_key(b"Secret1", 32), datagram)


@pytest.fixture
def _nothing_known() -> Iterator[None]:
    address_header.cache_clear()
    header_address.cache_clear()
    yield
    address_header.cache_clear()
    header_address.cache_clear()


@pytest.mark.usefixtures("_nothing_known")
def test_addresses_are_translated_once_and_not_all_of_them_remembered() -> None:
    batch = [Packet(Address("192.0.2.7", port), b"") for port in range(10)]
    client, server = codec(), codec()
    for _ in range(2):
        assert server.open(client.seal(batch)) == batch
    assert address_header.cache_info().misses == header_address.cache_info().misses == 10
    batch = [Packet(Address(f"10.0.{number >> 8}.{number & 255}", 1), b"") for number in range(module.MAX_KNOWN + 10)]
    for packet in batch:
        assert header_address(address_header(packet.address)) == packet.address
    for cache in (address_header, header_address):
        assert cache.cache_info().currsize == cache.cache_info().maxsize == module.MAX_KNOWN
