"""The contract of a frontend: accepts what applications want, and hands each flow to a dialer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..base.address import Address
from ..base.dialer import Dialer
from ..net.listener import SocketListener
from ..net.udp import UdpSocket
from .access import AccessKey

if TYPE_CHECKING:
    from .carrier import Carrier


@dataclass(frozen=True, slots=True)
class FrontendDeps:
    """What a frontend is built with.

    :param name: its name in the configuration
    :param dialer: where its flows go
    :param carrier: takes a flow from an accepted stream to its end
    :param bind: returns the listening TCP socket of an address; raises `StartError`
    :param bind_udp: returns the UDP socket of an address, to be closed with the frontend; raises `StartError`
    """

    name: str
    dialer: Dialer
    carrier: Carrier
    bind: Callable[[Address], SocketListener]
    bind_udp: Callable[[Address], UdpSocket]


class Frontend(ABC):
    """Accepts flows.

    Life cycle: constructed (no side effects), `prepare`, `serve`, `close`. Flows outlive `serve`: the carrier has them.
    """

    @abstractmethod
    async def prepare(self) -> None:
        """Do everything that can fail: bind, read files.

        :raises StartError: naming what could not be had; nothing is left half done
        """

    @property
    @abstractmethod
    def addresses(self) -> Sequence[Address]:
        """Where it listens; after `prepare`."""

    def access_keys(self, host: str) -> Sequence[AccessKey]:
        """Return what its users need to come in, one for each user and listener; from the options alone, before `prepare` too.

        :param host: name or IP address by which clients reach this machine
        :return: none where users need nothing that could be printed
        """
        return ()

    @abstractmethod
    async def serve(self) -> None:
        """Accept flows until cancelled."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything back that `prepare` took, and give up the handshakes under way. A cancelled `serve` may still be about to end."""
