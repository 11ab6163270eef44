"""The contract of the data path for packets: what a channel can be told, and what it tells.

A `PacketChannel` carries packets of one kind both ways: sealed ones (`bytes`) between a tunnel and its server, and addressed ones (`Packet`)
everywhere above. It is as reliable as UDP: a packet comes whole or not at all, perhaps late, perhaps twice. Four rules:

1. **Batch.** `packets_received` is called with everything that is available in one wake-up, and `send` takes as many; no list is empty, and nobody
   changes one that was handed on.
2. **Own.** A packet's data is `bytes`: who wants to keep it does.
3. **No backpressure.** What cannot go now is dropped, by the one who finds out, who counts it (see `drops`). Applications pace themselves.
4. **End.** `connection_lost` is the last call, comes exactly once, and only from the loop, never from inside a call of ours. `None`: one of the two
   ends closed it, as servers do with what was idle for some time; anything else is the cause. After `close` nothing is delivered but that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, Generic, NamedTuple, TypeVar

from .address import Address

PacketT = TypeVar("PacketT")
LowerT = TypeVar("LowerT")

MAX_PACKET: Final = 65507
"""The most bytes that a UDP datagram carries over IPv4."""


class Packet(NamedTuple):
    """A datagram, and the one at the far end.

    :param address: on its way out, where to; on its way back, where from
    :param data: at most `MAX_PACKET` bytes; may be empty
    """

    address: Address
    data: bytes


class PacketSink(ABC, Generic[PacketT]):
    """What a channel tells. All methods are called from the event loop, must not block, and must not raise."""

    __slots__ = ()

    @abstractmethod
    def packets_received(self, packets: list[PacketT]) -> None:
        """Take all the packets that are available now.

        :param packets: never empty
        """

    @abstractmethod
    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is over. The last call, exactly once.

        :param exc: None if one of the ends closed it, else the cause
        """


class PacketChannel(ABC, Generic[PacketT]):
    """What a channel can be told. No method blocks or raises; trouble arrives as `PacketSink.connection_lost`."""

    __slots__ = ()

    @property
    @abstractmethod
    def peer_address(self) -> Address | None:
        """The address of the one at the other end of the channel, or None where there is not one, or it is not known."""

    @abstractmethod
    def set_sink(self, sink: PacketSink[PacketT]) -> None:
        """Say who is called back from now on. Before the first sink nothing is delivered; one that is lost tells its next sink so."""

    @abstractmethod
    def send(self, packets: list[PacketT]) -> None:
        """Send packets, each as a whole or not at all. Ignored after `close`, and once the channel is over.

        :param packets: never empty
        """

    @abstractmethod
    def close(self) -> None:
        """Send what was taken, and be over, politely; idempotent. `connection_lost(None)` comes."""

    def keep_alive(self, doubt: bool = False) -> None:
        """As `Stream.keep_alive`: let a silent peer show that it is there. A channel whose peer is gone is lost."""


class _Nobody(PacketSink[Any]):
    """The sink of a channel that has none yet, or none any more."""

    __slots__ = ()

    def packets_received(self, packets: list[Any]) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


NO_PACKET_SINK: Final[PacketSink[Any]] = _Nobody()


class PacketHop(PacketChannel[PacketT], PacketSink[LowerT], Generic[PacketT, LowerT]):
    """Stands on another channel, perhaps one for packets of another kind; a layer says what it makes of them.

    :param lower: the channel to stand upon; becomes ours
    """

    __slots__ = ("lower", "upper")

    def __init__(self, lower: PacketChannel[LowerT]) -> None:
        self.lower = lower
        self.upper: PacketSink[PacketT] = NO_PACKET_SINK

    def connection_lost(self, exc: Exception | None) -> None:
        upper, self.upper = self.upper, NO_PACKET_SINK  # breaks the reference circle
        upper.connection_lost(exc)

    @property
    def peer_address(self) -> Address | None:
        return self.lower.peer_address

    def set_sink(self, sink: PacketSink[PacketT]) -> None:
        self.upper = sink
        self.lower.set_sink(self)

    def close(self) -> None:
        self.lower.close()

    def keep_alive(self, doubt: bool = False) -> None:
        self.lower.keep_alive(doubt)
