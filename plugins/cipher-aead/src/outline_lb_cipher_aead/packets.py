"""Packets: ``salt || seal(address || payload)``, each under a key of its own, with a nonce of zeros (SIP004)."""

from __future__ import annotations

from functools import lru_cache
from os import urandom
from typing import Final

from cryptography.exceptions import InvalidTag

from outline_lb.api import Address, AddressError, Packet, PacketCodec, decode_address, encode_address

from .key import subkey
from .method import Method

MAX_KNOWN: Final = 4096
"""Addresses whose two forms are remembered, in all associations together: to translate one takes as long as to seal a packet."""

_NONCE: Final = bytes(12)
_IPV4, _NAME, _IPV6 = 1, 3, 4  # ATYP
_FIRST: Final = Address("localhost", 0)


class AeadPackets(PacketCodec):
    """The packets of one association, at either end.

    :param method: the algorithm
    :param master: the key of the secret
    """

    __slots__ = ("_from", "_master", "_method", "_to")

    def __init__(self, method: Method, master: bytes) -> None:
        self._method = method
        self._master = master
        self._to = self._from = (_FIRST, encode_address(_FIRST))  # the last ones: most packets go where the one before went

    def seal(self, packets: list[Packet]) -> list[bytes]:
        master, size, aead = self._master, self._method.size, self._method.aead
        before, header = self._to
        salts = urandom(size * len(packets))
        sealed, end = [], 0
        for address, data in packets:
            if address is not before:
                before, header = self._to = address, address_header(address)
            start, end = end, end + size
            salt = salts[start:end]
            sealed.append(salt + aead(subkey(master, salt)).encrypt(_NONCE, header + data, None))
        return sealed

    def open(self, datagrams: list[bytes]) -> list[Packet]:
        method, master = self._method, self._master
        address, header = self._from
        packets = []
        for datagram in datagrams:
            try:
                plain = open_datagram(method, master, datagram)
                if not plain.startswith(header):  # no header is the beginning of another one
                    address, header = self._from = split_header(plain)
            except (InvalidTag, AddressError):
                continue
            packets.append(Packet(address, plain[len(header) :]))
        return packets


def open_datagram(method: Method, master: bytes, datagram: bytes) -> bytes:
    """Return what a datagram holds.

    :raises InvalidTag: if it was not sealed with this key
    """
    size = method.size
    return method.aead(subkey(master, datagram[:size])).decrypt(_NONCE, datagram[size:], None)


def split_header(plain: bytes) -> tuple[Address, bytes]:
    """Return the address that a packet begins with, and how it stands there.

    :raises AddressError: if there is none
    """
    kind = plain[0] if plain else 0
    if kind == _IPV4:
        header = plain[:7]
    elif kind == _IPV6:
        header = plain[:19]
    elif kind == _NAME and len(plain) > 1:
        header = plain[: 4 + plain[1]]
    else:
        header = plain[:2]
    return header_address(header), header


address_header: Final = lru_cache(MAX_KNOWN)(encode_address)
"""Return an address as it stands in a packet."""


@lru_cache(MAX_KNOWN)
def header_address(header: bytes) -> Address:
    """Return the address that a header is.

    :raises AddressError: if it is none
    """
    found = decode_address(header)
    if found is None:
        raise AddressError("the packet ends inside its address")
    return found[0]
