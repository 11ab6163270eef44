"""The contract of a transport: how a server is reached, and how a server is one. Each ability is a small class of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..base.address import Address
from ..base.packets import PacketChannel
from ..base.secret import SecretUrl
from ..base.stream import Stream
from ..net.connector import Connector
from ..net.listener import SocketListener
from ..net.udp import UdpSocket

LinkT = TypeVar("LinkT", bound="Stream | PacketChannel[bytes]")
"""What leads to a server: a stream, or a channel for sealed packets."""
LinkT_co = TypeVar("LinkT_co", bound="Stream | PacketChannel[bytes]", covariant=True)


class Endpoint(ABC, Generic[LinkT_co]):
    """A fixed place that streams, or channels for packets, can be opened to. What goes through them is somebody else's business."""

    answers: bool = True
    """Whether `connect` waits for an answer of the server, and so shows that it is there; plain UDP has none."""

    @abstractmethod
    async def connect(self) -> LinkT_co:
        """Open one. Cancelling closes whatever was opened.

        :return: a stream, still paused, or a channel without a sink; nothing was sent over it yet
        :raises UpstreamError: with the operation that failed (``resolve``, ``connect``, ``tls``, ``upgrade``)
        """


class StandbyEndpoint(Endpoint[LinkT]):
    """An endpoint whose streams or channels can wait for a flow, because it can tell whether one that waited still leads to the server."""

    @abstractmethod
    async def check(self, link: LinkT) -> None:
        """Ask the server for a sign of life. Cancelling leaves the stream or channel as it is.

        :param link: what `connect` opened, reading, over which nothing was sent yet; it has a sink that hears of its end
        :raises UpstreamError: if it ends instead
        """


class Transport(ABC):
    """A way to servers. It is given abilities by `StreamTransport`, `PacketTransport`, `StreamDialer` and `PacketDialer`; one without any is useless.

    Life cycle: constructed (no side effects), `prepare`, in use, `close`.
    """

    async def prepare(self) -> None:  # noqa: B027 - optional
        """Do everything that can fail before the first flow: read files, check what the system offers.

        :raises StartError: naming what is missing
        """

    async def close(self) -> None:  # noqa: B027 - optional
        """Let go of everything that is kept between flows."""


class StreamTransport(Transport):
    """A transport that opens streams to a server, for a cipher to work on."""

    @abstractmethod
    def stream_endpoint(self, url: SecretUrl) -> Endpoint[Stream]:
        """Return the endpoint of a URL with one of the registration's schemes. Nothing is opened yet.

        :raises AddressError: if the URL has something that does not belong there
        """


class PacketTransport(Transport):
    """A transport that carries sealed packets to a server."""

    @abstractmethod
    def packet_endpoint(self, url: SecretUrl) -> Endpoint[PacketChannel[bytes]]:
        """Return the endpoint of a URL with one of the registration's schemes. Nothing is opened yet.

        :raises AddressError: if the URL has something that does not belong there
        """


@dataclass(frozen=True, slots=True)
class TransportDeps:
    """What a transport is built with.

    :param connector: opens the sockets, on the way that the upstream wants
    """

    connector: Connector


class Listener(ABC):
    """The other half of a transport: accepts streams, and channels for packets if it has them.

    Life cycle: constructed (no side effects), `prepare`, `serve`, `close`.
    """

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it is bound; after `prepare`."""

    def url(self, host: str) -> SecretUrl | None:
        """Return the URL by which clients reach it, as an upstream's `tcp` says it; from the options alone, before `prepare` too.

        :param host: name or IP address of this machine
        :return: None if it has no URL
        """
        return None

    def packet_url(self, host: str) -> SecretUrl | None:
        """Return the URL by which clients reach it with packets, as an upstream's `udp` says it; as `url`.

        :param host: name or IP address of this machine
        :return: None if it takes no packets, or has no URL
        """
        return None

    @abstractmethod
    async def prepare(self) -> None:
        """Read files and bind.

        :raises StartError: naming the file or the address
        """

    @abstractmethod
    async def serve(self, accepted: Callable[[Stream], None], associated: Callable[[PacketChannel[bytes]], None]) -> None:
        """Accept until cancelled; handshakes that were under way are then given up, what was accepted is not.

        :param accepted: called from the loop with each stream whose handshake is done, still paused
        :param associated: the same for each channel for packets, still without a sink
        """

    @abstractmethod
    async def close(self) -> None:
        """Give the port back."""


@dataclass(frozen=True, slots=True)
class ListenerDeps:
    """What a listener is built with.

    :param bind: returns the listening TCP socket of an address; raises `StartError`
    :param bind_udp: returns the UDP socket of an address; raises `StartError`
    """

    bind: Callable[[Address], SocketListener]
    bind_udp: Callable[[Address], UdpSocket]
