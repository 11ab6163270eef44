"""A channel for packets, until its first packet says whose it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from outline_lb.api import AcceptedPackets, AddressError, Drops, Packet, PacketChannel, PacketSink, RejectedError, ServerCipher, TunnelChannel


class Newcomer(PacketSink[bytes]):
    """The sink of a channel that has not shown a key. One whose first packet shows none is closed at once, as other servers do.

    :param channel: the client's; becomes ours
    :param ciphers: find out whose it is
    :param drops: hears of what cannot be opened, of the user's later packets too
    :param accepted: called with the user's channel, its user and the first packet
    :param done: called when the key was found or the channel is over; may be called again
    """

    __slots__ = ("_accepted", "_channel", "_ciphers", "_done", "_drops")

    def __init__(
        self,
        channel: PacketChannel[bytes],
        ciphers: Sequence[ServerCipher],
        drops: Drops,
        accepted: Callable[[PacketChannel[Packet], str, Packet], object],
        done: Callable[[Newcomer], object],
    ) -> None:
        self._channel = channel
        self._ciphers = ciphers
        self._drops = drops
        self._accepted = accepted
        self._done = done
        channel.set_sink(self)

    def close(self) -> None:
        """End the channel."""
        self._done(self)
        self._channel.close()

    def packets_received(self, packets: list[bytes]) -> None:
        found = self._accept(packets[0])
        if found is None:
            self.close()
            return
        self._done(self)
        tunnel = TunnelChannel(self._channel, found.codec, self._drops)
        self._accepted(tunnel, found.user, found.first)
        if len(packets) > 1:
            tunnel.packets_received(packets[1:])

    def connection_lost(self, exc: Exception | None) -> None:
        self._done(self)

    def _accept(self, first: bytes) -> AcceptedPackets | None:
        for cipher in self._ciphers:
            try:
                return cipher.accept_packets(first)
            except RejectedError:
                continue
            except AddressError:
                self._drops.count("not served: a key opens it, but its target is no address")
                return None
        self._drops.count("not served: no key opens it")
        return None
