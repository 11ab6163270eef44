"""The header of the datagrams between a client and its relay, sans I/O (RFC 1928 section 7)."""

from __future__ import annotations

from typing import Final

from outline_lb.api import Address, AddressError, AddressTypeError, Packet, ProtocolError, decode_address, encode_address

_PLAIN: Final = bytes(3)  # RSV RSV FRAG
_IPV4, _IPV6 = 1, 4  # ATYP; of a name, the header's size stands behind it
_IPV4_SIZE, _IPV6_SIZE, _EMPTY_NAME_SIZE = 3 + 1 + 4 + 2, 3 + 1 + 16 + 2, 3 + 1 + 1 + 2


class HeaderError(ProtocolError):
    """A datagram is none of a SOCKS client. The message is one of few: a reason for `Drops`."""


def read_header(header: bytes) -> Address:
    """Return the target that a header names.

    :param header: nothing else
    :raises HeaderError: with what is wrong
    """
    if len(header) < _EMPTY_NAME_SIZE:
        raise HeaderError("without a whole header")
    if header[2]:  # section 7: who does not put fragments together must drop them
        raise HeaderError("a fragment")
    if header[:2] != _PLAIN[:2]:
        raise HeaderError("reserved bytes are not zero")
    try:
        found = decode_address(header[3:])
    except AddressTypeError:
        raise HeaderError("of an unknown type of address") from None
    except AddressError:
        raise HeaderError("to a name that is no host name") from None
    if found is None:
        raise HeaderError("without a whole header")
    return found[0]


def write_header(address: Address) -> bytes:
    """Return the header that names an address."""
    return _PLAIN + encode_address(address)


class UdpHeaders:
    """Reads and writes the headers of one association, and remembers those of late: most datagrams have one that is known.

    :param most: how many are remembered each way; the one that was not used for the longest time is forgotten first
    """

    __slots__ = ("_most", "_sources", "_targets")

    def __init__(self, most: int) -> None:
        self._most = most
        self._targets: dict[bytes, Address] = {}
        self._sources: dict[Address, bytes] = {}

    def open(self, datagram: bytes) -> Packet:
        """Return what a client wants to be sent, and where to.

        :param datagram: as it came from the client
        :raises HeaderError: if it is to be dropped
        """
        if len(datagram) < _EMPTY_NAME_SIZE:
            raise HeaderError("without a whole header")
        kind = datagram[3]
        size = _IPV4_SIZE if kind == _IPV4 else _IPV6_SIZE if kind == _IPV6 else _EMPTY_NAME_SIZE + datagram[4]
        header = datagram[:size]
        targets = self._targets
        target = targets.pop(header, None)
        if target is None:
            target = read_header(header)
            if len(targets) >= self._most:
                del targets[next(iter(targets))]
        targets[header] = target
        return Packet(target, datagram[size:])

    def seal(self, packet: Packet) -> bytes:
        """Return the datagram that tells a client what came, and where from."""
        source, data = packet
        sources = self._sources
        header = sources.pop(source, None)
        if header is None:
            header = write_header(source)
            if len(sources) >= self._most:
                del sources[next(iter(sources))]
        sources[source] = header
        return header + data
