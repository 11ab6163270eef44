"""Shadowsocks: the chunks of a stream, how a server finds out whose it is, and packets.

Streams are made here and damaged, since no chance would ever hit a tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fuzz.harness import Target, kept, refusal, splits

from outline_lb.base.address import Address, decode_address
from outline_lb.base.errors import AddressError, ProtocolError
from outline_lb.base.packets import Packet
from outline_lb.base.secret import Secret
from outline_lb.datapath.cipher import RejectedError
from outline_lb_cipher_aead.chunks import CHUNK, ChunkSealer
from outline_lb_cipher_aead.codec import Codec, PythonCodec, find, installed
from outline_lb_cipher_aead.key import master_key, subkey
from outline_lb_cipher_aead.method import METHODS, TAG, Method
from outline_lb_cipher_aead.packets import AeadPackets
from outline_lb_cipher_aead.server import HEADER_LIMIT, AeadServer

NAMES = ("chacha20-ietf-poly1305", "aes-256-gcm", "aes-192-gcm", "aes-128-gcm")
SECRET = b"Secret0"
FOREIGN = 0x80
"""In the first byte: the rest is a stream as it is, not a plan for one."""

_ROOM = memoryview(bytearray(4 * (CHUNK + 100)))
_TEXT = bytes(range(256)) * 80


@dataclass
class Stream:
    """A stream that was sealed, and what may have been done to it.

    :param method: of its cipher
    :param sealed: its bytes, perhaps damaged
    :param plain: what was sealed; None: nobody knows
    :param damaged: whether the bytes are others than those that were sealed
    """

    method: Method
    sealed: bytes
    plain: bytes | None
    damaged: bool


def plan(data: bytes, header: bytes = b"") -> Stream:
    """Make a stream: of a first byte for the method; a byte for the number of chunks, and the size of each in two bytes; then what to damage.

    :param data: the plan, or a foreign stream behind its first byte
    :param header: comes before the text of the first chunk
    """
    first, rest = (data[0], data[1:]) if data else (0, b"")
    method = METHODS[NAMES[first & 3]]
    if first & FOREIGN:
        return Stream(method, rest, None, True)
    count, rest = (rest[0] & 3, rest[1:]) if rest else (0, b"")
    sizes, rest = rest[: 2 * count], rest[2 * count :]
    sealer = ChunkSealer(method, master_key(SECRET, method.size), bytes(range(method.size)), header)
    sealed, plain = b"", header
    for index in range(0, len(sizes) - 1, 2):
        text = _TEXT[: int.from_bytes(sizes[index : index + 2], "big") & CHUNK]
        if text or not index:
            sealed += bytes(_ROOM[: sealer.seal_into(text, _ROOM)])
            plain += text
    damaged = _damage(sealed, rest)
    return Stream(method, damaged, plain, damaged != sealed)


def _damage(sealed: bytes, orders: bytes) -> bytes:
    """Damage bytes. An order has four: what to do, where in two, and with what."""
    for index in range(0, len(orders) - 3, 4):
        what, where, value = orders[index], int.from_bytes(orders[index + 1 : index + 3], "big"), orders[index + 3]
        where %= len(sealed) + 1
        before, behind = sealed[:where], sealed[where:]
        match what % 5:
            case 0:
                sealed = before + bytes((behind[0] ^ value,)) + behind[1:] if behind else before
            case 1:
                sealed = before
            case 2:
                sealed = before + behind[value:]
            case 3:
                sealed = before + bytes((value,)) + behind
            case _:
                sealed = before + behind[:value] + behind
    return sealed


def chunks(data: bytes) -> None:
    """Open a stream: what comes out is a beginning of what was sealed, whatever happened to it."""
    stream = plan(data)
    outcomes = [_open(stream, pieces, codec) for codec in _codecs(stream.method) for pieces in splits(stream.sealed)]
    _agree(outcomes)
    plain, complete, error = outcomes[0]
    if stream.plain is None:
        return
    assert stream.plain.startswith(plain), "what came out was never sealed"
    if not stream.damaged:
        assert (plain, complete, error) == (stream.plain, True, "")


def _agree(outcomes: Sequence[tuple[bytes, object, str]]) -> None:
    """However it was split: the same, except that a broken stream may have handed out more or less of its beginning."""
    plain, ending, error = outcomes[0]
    for other in outcomes[1:]:
        if error:
            assert other[2] == error, f"split in another way, the same bytes give {other[2]!r} and not {error!r}"
            assert other[0].startswith(plain) or plain.startswith(other[0])
        else:
            assert other == (plain, ending, error)


def _codecs(method: Method) -> list[Codec]:
    """Return what can open a stream: that in Python first, then what else is installed."""
    found = (find(name, method.name) for name in installed())
    return [codec for codec in found if method.name in codec.methods]


def _open(stream: Stream, pieces: Sequence[bytes], codec: Codec) -> tuple[bytes, object, str]:
    opener = codec.opener(stream.method.name, master_key(SECRET, stream.method.size))
    plain = b""
    for piece in pieces:
        try:
            found = opener.feed(piece)
        except ProtocolError as error:
            return plain, False, refusal(error)
        assert all(found), "an empty piece"
        plain += b"".join(found)
        assert kept(opener) <= CHUNK + TAG + stream.method.size * 2
    return plain, opener.complete, ""


def server(data: bytes) -> None:
    """Accept a stream. The header is what stands between a byte with its size and the plan of the rest."""
    size = data[0] if data else 0
    stream = plan(data[1 + size :], data[1 : 1 + size])
    outcomes = [_accept(stream, pieces) for pieces in splits(stream.sealed)]
    _agree(outcomes)
    plain, _, error = outcomes[0]
    if stream.plain is not None and not error:
        assert stream.plain.endswith(plain) or stream.damaged
        assert plain in stream.plain


def _accept(stream: Stream, pieces: Sequence[bytes]) -> tuple[bytes, object, str]:
    server = AeadServer(stream.method, {"ann": Secret("Secret1"), "ben": Secret(SECRET.decode())}, 10, PythonCodec())
    begun, rest = b"", iter(pieces)
    for piece in rest:
        begun += piece
        try:
            accepted = server.accept(begun)
        except (RejectedError, AddressError) as error:  # which of both may depend on how much of a broken stream has come
            refusal(error)
            return b"", None, "not served"
        if accepted is not None:
            assert accepted.user == "ben"
            return _go_on(accepted.payload, accepted.target, accepted.opener.feed, rest)
        assert len(begun) <= HEADER_LIMIT
    return b"", None, ""


def _go_on(plain: bytes, target: object, feed: object, rest: Iterator[bytes]) -> tuple[bytes, object, str]:
    assert callable(feed)
    for piece in rest:
        try:
            plain += b"".join(feed(piece))
        except ProtocolError as error:
            refusal(error)
            return plain, target, "not served"
    return plain, target, ""


def packets(data: bytes) -> None:
    """Open a datagram, alone and among good ones: of a first byte for the method; a byte with the size of what was sealed, and that; then what to
    damage."""
    first, rest = (data[0], data[1:]) if data else (0, b"")
    method = METHODS[NAMES[first & 3]]
    plain: bytes | None = None
    datagram = rest
    if not first & FOREIGN:
        size, rest = (rest[0], rest[1:]) if rest else (0, b"")
        plain = rest[:size]
        sealed = seal_datagram(method, plain)
        datagram = _damage(sealed, rest[size:])
        plain = plain if datagram == sealed else None
    opened = _open_packets(method, datagram)
    assert opened == (_parted(plain) if plain is not None else [])
    for packet in opened:
        assert AeadPackets(method, master_key(SECRET, method.size)).open(AeadPackets(method, master_key(SECRET, method.size)).seal(opened)) == [
            packet
        ]
    _accept_packets(method, datagram, opened)


def seal_datagram(method: Method, plain: bytes) -> bytes:
    """Seal what may be no packet."""
    salt = bytes(range(method.size))
    return salt + method.aead(subkey(master_key(SECRET, method.size), salt)).encrypt(bytes(12), plain, None)


def _parted(plain: bytes) -> list[Packet]:
    """Return the packet that these bytes are, if they are one."""
    try:
        found = decode_address(plain)
    except AddressError as error:
        refusal(error)
        return []
    return [] if found is None else [Packet(found[0], plain[found[1] :])]


def _open_packets(method: Method, datagram: bytes) -> list[Packet]:
    """Open a datagram, alone first; what stands around it and what came before makes no difference."""
    codec = AeadPackets(method, master_key(SECRET, method.size))
    opened = codec.open([datagram])
    good = Packet(Address("example.com", 443), b"good")
    [sealed] = codec.seal([good])
    assert codec.open([sealed, datagram, datagram, sealed]) == [good, *opened, *opened, good]
    assert codec.open([datagram]) == opened
    return opened


def _accept_packets(method: Method, datagram: bytes, opened: list[Packet]) -> None:
    """Show a datagram to a server that does not know whose it is."""
    server = AeadServer(method, {"ann": Secret("Secret1"), "ben": Secret(SECRET.decode())}, 10, PythonCodec())
    try:
        accepted = server.accept_packets(datagram)
    except (RejectedError, AddressError) as error:
        refusal(error)
        assert not opened
    else:
        assert (accepted.user, [accepted.first]) == ("ben", opened)


TARGETS = [Target("shadowsocks-chunks", chunks, 512), Target("shadowsocks-server", server, 800), Target("shadowsocks-packets", packets, 512)]
