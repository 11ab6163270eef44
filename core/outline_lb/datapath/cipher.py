"""The contract of a cipher: sans-I/O sealing of streams and packets. A cipher owns its header, so that each can have its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from ..base.address import Address
from ..base.packets import Packet
from ..base.secret import Secret
from ..base.stream import Buffer


class Sealer(ABC):
    """Encrypts one direction of one stream."""

    __slots__ = ()

    @property
    @abstractmethod
    def batch(self) -> int:
        """The most bytes that one `seal_into` takes: what comes of them fits into a `Stream.room`, header included."""

    @abstractmethod
    def seal_into(self, data: Buffer, out: memoryview) -> int:
        """Seal all of `data`. The first call also writes the header, before or together with the data.

        :param data: at most `batch` bytes; may be empty in the first call only, to send the header alone
        :param out: a `Stream.room`
        :return: the number of bytes used in `out`
        """


class Opener(ABC):
    """Decrypts one direction of one stream."""

    __slots__ = ()

    @abstractmethod
    def feed(self, data: Buffer) -> list[bytes]:
        """Take everything available, and return the pieces of plaintext that are complete with it; none is empty.

        :raises ProtocolError: if it does not authenticate
        """

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether the stream may end here: at the border of a unit, nothing begun."""


class PacketCodec(ABC):
    """Seals and opens the packets of one association: those of one flow, at either end."""

    __slots__ = ()

    @abstractmethod
    def seal(self, packets: list[Packet]) -> list[bytes]:
        """Seal packets, each with its address.

        :return: as many, in their order
        """

    @abstractmethod
    def open(self, datagrams: list[bytes]) -> list[Packet]:
        """Open packets.

        :return: those that authenticate and hold an address, in their order; the others are left out
        """


class ClientCipher(ABC):
    """A cipher with the secret of one server."""

    @abstractmethod
    def stream(self, target: Address) -> tuple[Sealer, Opener]:
        """Begin a stream to a target. Its header leaves with the first data sealed."""

    @abstractmethod
    def packets(self) -> PacketCodec:
        """Begin an association."""


class RejectedError(Exception):
    """What came is no stream of any key; or one that was here before."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stream that a server can serve.

    :param user: whose key it is
    :param target: where the user wants to go
    :param sealer: seals the answers
    :param opener: goes on from where the header ended
    :param payload: what came with the header, decrypted
    """

    user: str
    target: Address
    sealer: Sealer
    opener: Opener
    payload: bytes


@dataclass(frozen=True, slots=True)
class AcceptedPackets:
    """An association that a server can serve.

    :param user: whose key it is
    :param first: the packet that it began with, opened
    :param codec: for everything else of this client
    """

    user: str
    first: Packet
    codec: PacketCodec


class ServerCipher(ABC):
    """A cipher with the keys of all its users. One object per listener, kept between streams."""

    @abstractmethod
    def accept(self, data: bytes) -> Accepted | None:
        """Look at everything that a new stream has sent so far.

        :return: the stream; None if more bytes are needed
        :raises RejectedError: if more bytes would not help
        :raises AddressError: if the key is right and the target is not an address
        """

    @abstractmethod
    def accept_packets(self, datagram: bytes) -> AcceptedPackets:
        """Look at the first packet of a new association.

        :raises RejectedError: if no key opens it
        :raises AddressError: if the key is right and the target is not an address
        """


class Cipher(ABC):
    """A cipher without a secret: makes both ends."""

    @abstractmethod
    def client(self, secret: Secret, prefix: bytes) -> ClientCipher:
        """Return the client's end.

        :param secret: shared with the server
        :param prefix: the first bytes of each stream, to look like something else; b"" for none
        :raises ValueError: if secret or prefix do not fit this cipher
        """

    @abstractmethod
    def server(self, keys: Mapping[str, Secret]) -> ServerCipher:
        """Return the server's end.

        :param keys: user name to secret
        :raises ValueError: if a secret does not fit this cipher
        """
