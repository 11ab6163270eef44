"""Addresses: a host and a port, as text, as SOCKS bytes (RFC 1928 section 5), and which of them are public."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from .errors import AddressError

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_IPV4, _NAME_TYPE, _IPV6 = 1, 3, 4  # ATYP
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in disguise
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that was ever given out to the public
# The special-purpose registries (RFC 6890). Not the `is_global` of `ipaddress`: that one says something else in each Python release.
_SPECIAL_IPV4: Final[Sequence[ipaddress.IPv4Network]] = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
]
_SPECIAL_IPV6: Final[Sequence[ipaddress.IPv6Network]] = [ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")]


class AddressTypeError(AddressError):
    """The type byte of an address is unknown."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host (IP address or name) and a port; the target of a flow, or one end of a socket.

    :param host: an IP address in its canonical text form, or a host name in ASCII
    :param port: 0 to 65535
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port`` or ``[v6]:port``.

        :raises AddressError: with what is wrong
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host:
            raise AddressError(f"{text[:80]!r} lacks host or port: write host:port, or [address]:port for IPv6")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise AddressError(f"{port[:80]!r} is no port: write a number from 0 to 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if ":" not in host:
                raise AddressError(f"{text[:80]!r}: only an IPv6 address is written in brackets")
        elif ":" in host:
            raise AddressError(f"{text[:80]!r}: write an IPv6 address in brackets, as in [::1]:1080")
        return cls.of(host, int(port))

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """Make an address from a host that nobody has looked at yet.

        :raises AddressError: if `host` is neither an IP address nor a host name; an IPv6 zone (``%eth0``) belongs to neither
        """
        try:
            if "%" not in host:  # a zone may hold any character, line ends too
                return cls(str(ipaddress.ip_address(host)), port)
        except ValueError:
            pass
        if not _NAME.fullmatch(host):
            raise AddressError(f"{host[:80]!r} is neither an IP address nor a host name")
        return cls(host, port)

    @property
    def ip(self) -> IPAddress | None:
        """The host as an IP address; None if it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def encode_address(address: Address) -> bytes:
    """Return ATYP, address and port as SOCKS5 and Shadowsocks write them."""
    ip = address.ip
    if ip is None:
        name = address.host.encode("ascii")
        head = bytes((_NAME_TYPE, len(name))) + name
    else:
        head = bytes((_IPV4 if ip.version == 4 else _IPV6,)) + ip.packed
    return head + address.port.to_bytes(2, "big")


def decode_address(data: bytes | memoryview) -> tuple[Address, int] | None:
    """Read ATYP, address and port at the start of `data`.

    :return: the address and the number of bytes that it took; None if more bytes are needed
    :raises AddressTypeError: if the type is none of IPv4, IPv6 and name
    :raises AddressError: if the name is no host name
    """
    if len(data) < 2:
        return None
    kind = data[0]
    if kind == _IPV4:
        start, end = 1, 5
    elif kind == _IPV6:
        start, end = 1, 17
    elif kind == _NAME_TYPE:
        start, end = 2, 2 + data[1]
    else:
        raise AddressTypeError(f"address type {kind} is unknown")
    if len(data) < end + 2:
        return None
    raw = bytes(data[start:end])
    port = int.from_bytes(data[end : end + 2], "big")
    if kind == _NAME_TYPE:
        return Address.of(raw.decode("latin-1"), port), end + 2
    return Address(str(ipaddress.ip_address(raw)), port), end + 2


def is_public(ip: IPAddress) -> bool:
    """Tell whether an address is one of the public internet: not loopback, private, shared, link-local, multicast or reserved.

    An IPv4 address that hides in an IPv6 one (mapped, 6to4, NAT64) counts as itself. Teredo, which hides two, is refused.
    """
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _SPECIAL_IPV4)
    hidden = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour
    if hidden is not None:
        return is_public(hidden)
    return ip in _UNICAST and not any(ip in network for network in _SPECIAL_IPV6)
