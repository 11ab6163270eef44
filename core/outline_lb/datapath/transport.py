"""The contract of a transport: how a server is reached, and how a server is one. Each ability is a small class of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from ..base.address import Address
from ..base.secret import SecretUrl
from ..base.stream import Stream
from ..net.connector import Connector
from ..net.listener import SocketListener


class StreamEndpoint(ABC):
    """A fixed place that streams can be opened to. What goes through them is somebody else's business."""

    @abstractmethod
    async def connect_stream(self) -> Stream:
        """Open a stream. Cancelling closes whatever was opened.

        :return: a stream, still paused, over which nothing was sent yet
        :raises UpstreamError: with the operation that failed (``resolve``, ``connect``, ``tls``, ``upgrade``)
        """


class StandbyEndpoint(StreamEndpoint):
    """An endpoint whose streams can wait for a flow, because it can tell whether one that waited still leads to the server."""

    @abstractmethod
    async def check_stream(self, stream: Stream) -> None:
        """Ask the server for a sign of life. Cancelling leaves the stream as it is.

        :param stream: one that `connect_stream` opened, reading, over which nothing was sent yet; it has a sink that hears of its end
        :raises UpstreamError: if the stream ends instead
        """


class Transport(ABC):
    """A way to servers. It is given abilities by `StreamTransport` and `StreamDialer`; one without any is useless.

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
    def stream_endpoint(self, url: SecretUrl) -> StreamEndpoint:
        """Return the endpoint of a URL with one of the registration's schemes. Nothing is opened yet."""


@dataclass(frozen=True, slots=True)
class TransportDeps:
    """What a transport is built with.

    :param connector: opens the TCP connections, on the way that the upstream wants
    """

    connector: Connector


class Listener(ABC):
    """The other half of a transport: accepts streams.

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

    @abstractmethod
    async def prepare(self) -> None:
        """Read files and bind.

        :raises StartError: naming the file or the address
        """

    @abstractmethod
    async def serve(self, accepted: Callable[[Stream], None]) -> None:
        """Accept until cancelled; handshakes that were under way are then given up, accepted streams are not.

        :param accepted: called from the loop with each stream whose handshake is done, still paused
        """

    @abstractmethod
    async def close(self) -> None:
        """Give the port back."""


@dataclass(frozen=True, slots=True)
class ListenerDeps:
    """What a listener is built with.

    :param bind: returns the listening socket of an address; raises `StartError`
    """

    bind: Callable[[Address], SocketListener]
