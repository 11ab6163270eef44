"""The SOCKS5 handshake, the header of its datagrams, and the address in both, which Shadowsocks has too."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.harness import Target, kept, refusal, same_however_split

from outline_lb.base.address import decode_address, encode_address
from outline_lb.base.errors import AddressError
from outline_lb.base.packets import Packet
from outline_lb_frontend_socks5.protocol import Credentials, Event, Handshake, RefusedError, Request
from outline_lb_frontend_socks5.udp_header import HeaderError, UdpHeaders

MOST_KEPT = 3 + 255 + 255 + 256
"""Bytes of credentials that are not complete, and of replies that wait."""

Outcome = tuple[list[Event | str], bytes, bytes]


def handshake(data: bytes) -> None:
    """Run a handshake. The first byte says whether a password is wanted, and whether it is right; the others are the client's."""
    if not data:
        return
    authenticate, accepted = bool(data[0] & 1), bool(data[0] & 2)
    events, replies, rest = same_however_split(data[1:], lambda pieces: _shake_hands(pieces, authenticate, accepted))
    assert replies[:1] in {b"", b"\x05"} or events[-1:] == ["RefusedError"]
    assert len(replies) <= 2 + 2 + 22
    for event in events:
        if isinstance(event, Request):
            written = encode_address(event.target)
            assert decode_address(written) == (event.target, len(written))
            assert data.endswith(rest)
            assert replies[:2] == bytes((5, 2 if authenticate else 0))


def _shake_hands(pieces: Sequence[bytes], authenticate: bool, accepted: bool) -> Outcome:
    parser = Handshake(authenticate)
    events: list[Event | str] = []
    replies = b""
    for index, piece in enumerate(pieces):
        try:
            event = parser.feed(piece)
            while isinstance(event, Credentials):
                events.append(event)
                event = parser.judge(accepted)
        except RefusedError as error:
            return [*events, refusal(error)], replies + parser.take(), b""
        replies += parser.take()
        if event is not None:
            rest = event.payload + b"".join(pieces[index + 1 :])
            return [*events, Request(event.command, event.target, b"")], replies, rest
        assert kept(parser) <= MOST_KEPT
    return events, replies, b""


def address(data: bytes) -> None:
    """Read an address of ever more bytes: nothing until it is complete, then always the same."""
    outcomes = {_read(data[:size]) for size in range(min(len(data), 300) + 1)} - {None}
    assert len(outcomes) <= 1, outcomes
    try:
        found = decode_address(data)
    except AddressError:
        return
    assert decode_address(memoryview(data)) == found
    if found is None:
        return
    assert found[1] <= 1 + 1 + 255 + 2
    written = encode_address(found[0])
    assert decode_address(written) == (found[0], len(written))
    if data[0] != 3:  # a name may be an address in disguise, and then it is written as one
        assert data.startswith(written)


def _read(data: bytes) -> object:
    try:
        return decode_address(data)
    except AddressError as error:
        return refusal(error)


def udp(data: bytes) -> None:
    """Read datagrams, each behind a byte with its length, with little memory: the same comes out as without any."""
    headers, start = UdpHeaders(2), 0
    while start < len(data):
        end = start + 1 + data[start]
        datagram = data[start + 1 : end]
        start = end
        packet = _open(headers, datagram)
        assert packet == _open(UdpHeaders(1), datagram)
        if isinstance(packet, Packet):
            assert datagram.startswith(bytes(3)), "what it does not say plainly is dropped"
            assert datagram.endswith(packet.data)
            assert len(datagram) - len(packet.data) >= 3 + 1 + 1 + 1 + 2
            assert headers.open(headers.seal(packet)) == packet
    assert kept(headers) <= 2 * (3 + 1 + 1 + 255 + 2)


def _open(headers: UdpHeaders, datagram: bytes) -> Packet | str:
    try:
        return headers.open(datagram)
    except HeaderError as error:
        return refusal(error)


TARGETS = [Target("socks5", handshake, 1024), Target("socks5-udp", udp, 2048), Target("address", address, 512)]
