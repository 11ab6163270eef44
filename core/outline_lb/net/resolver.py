"""Host names to socket addresses."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from typing import TypeAlias

from ..base.address import Address

SocketAddress: TypeAlias = tuple[socket.AddressFamily, tuple[str, int]]


class Resolver(ABC):
    """Finds where a name is."""

    @abstractmethod
    async def resolve(self, address: Address) -> list[SocketAddress]:
        """Return where to connect to, in order of preference; an IP address is its own answer.

        :raises OSError: (often `socket.gaierror`) if there is no answer
        """


class SystemResolver(Resolver):
    """Asks the operating system, in a thread, so that a slow name server stalls nobody else."""

    async def resolve(self, address: Address) -> list[SocketAddress]:
        ip = address.ip
        if ip is not None:
            return [(socket.AF_INET if ip.version == 4 else socket.AF_INET6, (address.host, address.port))]
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return interleave([(family, (str(name[0]), int(name[1]))) for family, _, _, _, name in found])


def interleave(found: list[SocketAddress]) -> list[SocketAddress]:
    """Alternate between the families, the first one first (RFC 8305 section 4)."""
    if not found:
        return []
    first = [entry for entry in found if entry[0] == found[0][0]]
    other = [entry for entry in found if entry[0] != found[0][0]]
    mixed: list[SocketAddress] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1] + other[index : index + 1]
    return mixed
