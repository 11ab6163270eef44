"""A cipher that hides nothing and a listener without a handshake: what stands around them is under test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import anyio
import pytest

from outline_lb.api import (
    NO_PACKET_SINK,
    Accepted,
    AcceptedPackets,
    Address,
    Buffer,
    Cipher,
    ClientCipher,
    ComponentSpec,
    Datagram,
    Drops,
    Listener,
    ListenerDeps,
    Opener,
    Packet,
    PacketChannel,
    PacketCodec,
    PacketSink,
    ProtocolError,
    Registration,
    RejectedError,
    Sealer,
    Secret,
    ServerCipher,
    SocketListener,
    SocketName,
    StartError,
    Stream,
    UdpSocket,
    decode_address,
    encode_address,
    name_of,
)
from outline_lb.testing.clock import ClockLoop

DAMAGED = b"damaged"
"""What the cipher takes for a chunk that somebody has changed."""


def flip(data: Buffer, mark: int) -> bytes:
    return bytes(byte ^ mark for byte in data)


class ToySealer(Sealer):
    def __init__(self, mark: int, header: bytes) -> None:
        self._mark = mark
        self._header = header

    @property
    def batch(self) -> int:
        return 100_000

    def seal_into(self, data: Buffer, out: memoryview) -> int:
        sealed = self._header + flip(data, self._mark)
        self._header = b""
        out[: len(sealed)] = sealed
        return len(sealed)


class ToyOpener(Opener):
    def __init__(self, mark: int) -> None:
        self._mark = mark
        self._kept = b""  # what came behind the damage

    def feed(self, data: Buffer) -> list[bytes]:
        plain, self._kept = self._kept + flip(data, self._mark), b""
        begin, damage, behind = plain.partition(DAMAGED)
        if damage:
            self._kept = behind
            raise ProtocolError("authentication failed")
        return [begin] if begin else []

    @property
    def complete(self) -> bool:
        return True


class ToyPackets(PacketCodec):
    """``mark, length, secret, address, payload``, all but the mark flipped with it."""

    def __init__(self, mark: int, secret: bytes) -> None:
        self._mark = bytes((mark,))
        self._begin = bytes((len(secret),)) + secret

    def seal(self, packets: list[Packet]) -> list[bytes]:
        return [self._mark + flip(self._begin + encode_address(address) + data, self._mark[0]) for address, data in packets]

    def open(self, datagrams: list[bytes]) -> list[Packet]:
        packets = []
        for datagram in datagrams:
            plain = flip(datagram[1:], self._mark[0])
            if datagram[:1] == self._mark and plain.startswith(self._begin) and DAMAGED not in plain:
                found = decode_address(plain[len(self._begin) :])
                if found is not None:
                    packets.append(Packet(found[0], plain[len(self._begin) + found[1] :]))
        return packets


class ToyCipher(Cipher, ClientCipher, ServerCipher):
    """``mark, length, secret, address, payload``, all but the mark flipped with it."""

    def __init__(self, mark: int) -> None:
        self._mark = mark
        self._users: dict[bytes, str] = {}
        self._secret = b""

    def client(self, secret: Secret, prefix: bytes) -> ClientCipher:
        made = ToyCipher(self._mark)
        made._secret = secret.reveal().encode()
        return made

    def stream(self, target: Address) -> tuple[Sealer, Opener]:
        header = bytes((len(self._secret),)) + self._secret + encode_address(target)
        return ToySealer(self._mark, bytes((self._mark,)) + flip(header, self._mark)), ToyOpener(self._mark)

    def packets(self) -> PacketCodec:
        return ToyPackets(self._mark, self._secret)

    def server(self, keys: Mapping[str, Secret]) -> ServerCipher:
        made = ToyCipher(self._mark)
        made._users = {secret.reveal().encode(): user for user, secret in keys.items()}
        if b"" in made._users:
            raise ValueError("a secret has at least one character")
        return made

    def accept(self, data: bytes) -> Accepted | None:
        if data[0] != self._mark:
            raise RejectedError("another mark")
        plain = flip(data[1:], self._mark)
        if not plain or len(plain) < 1 + plain[0]:
            return None
        user = self._users.get(plain[1 : 1 + plain[0]])
        if user is None:
            raise RejectedError("no such secret")
        found = decode_address(plain[1 + plain[0] :])
        if found is None:
            return None
        payload = plain[1 + plain[0] + found[1] :]
        return Accepted(user, found[0], ToySealer(self._mark, b""), ToyOpener(self._mark), payload)

    def accept_packets(self, datagram: bytes) -> AcceptedPackets:
        for secret, user in self._users.items():
            codec = ToyPackets(self._mark, secret)
            if packets := codec.open([datagram]):
                return AcceptedPackets(user, packets[0], codec)
        raise RejectedError("no such secret")


class UdpChannel(PacketChannel[bytes]):
    """Datagrams between a socket and one other."""

    def __init__(self, sock: UdpSocket, name: SocketName, gone: Callable[[], object]) -> None:
        self.sink: PacketSink[bytes] = NO_PACKET_SINK
        self._sock = sock
        self._name = name
        self._gone = gone
        self._over = False

    @property
    def peer_address(self) -> Address:
        return name_of(self._name)

    def set_sink(self, sink: PacketSink[bytes]) -> None:
        self.sink = sink

    def send(self, packets: list[bytes]) -> None:
        for packet in packets:
            self._sock.send(packet, self._name)

    def close(self) -> None:
        if not self._over:
            self._over = True
            self._gone()
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        self.sink.connection_lost(None)


class PlainListener(Listener):
    """Accepts TCP connections, and datagrams at the same port."""

    def __init__(self, listen: Address, deps: ListenerDeps) -> None:
        self._listen = listen
        self._bind = deps.bind
        self._bind_udp = deps.bind_udp
        self._socket: SocketListener
        self._udp: UdpSocket
        self._channels: dict[SocketName, UdpChannel] = {}

    @property
    def address(self) -> Address:
        return self._socket.address

    async def prepare(self) -> None:
        while True:  # a port that is free for the one need not be for the other
            self._socket = self._bind(self._listen)
            try:
                self._udp = self._bind_udp(self._socket.address)
            except StartError:
                self._socket.close()
                if self._listen.port:
                    raise
            else:
                return

    async def serve(self, accepted: Callable[[Stream], None], associated: Callable[[PacketChannel[bytes]], None]) -> None:
        def received(datagrams: list[Datagram]) -> None:
            for data, name in datagrams:
                if name not in self._channels:
                    self._channels[name] = UdpChannel(self._udp, name, lambda name=name: self._channels.pop(name))  # type: ignore[misc]
                    associated(self._channels[name])
                self._channels[name].sink.packets_received([data])

        self._socket.start(accepted)
        self._udp.start(received)
        try:
            await anyio.sleep_forever()
        finally:
            self._socket.stop()
            self._udp.stop()

    async def close(self) -> None:
        self._socket.close()
        self._udp.close()


CIPHER: Registration[int, None, Cipher] = Registration("toy", {}, lambda raw: int(raw["mark"]), lambda mark, _: ToyCipher(mark))
LISTENER: Registration[Address, ListenerDeps, Listener] = Registration("plain", {}, lambda raw: Address.parse(raw["listen"]), PlainListener)


@pytest.fixture
def cipher() -> Callable[[int], ComponentSpec[None, Cipher]]:
    """Return the toy cipher with this mark."""
    return lambda mark: ComponentSpec("cipher", CIPHER, mark)


@pytest.fixture
def udp_client() -> Callable[[Address], PacketChannel[bytes]]:
    """Return a client's channel to this address."""

    def open_channel(server: Address) -> PacketChannel[bytes]:
        sock = UdpSocket.bind(Address(server.host, 0), Drops())
        channel = UdpChannel(sock, (server.host, server.port), sock.close)
        sock.start(lambda datagrams: channel.sink.packets_received([data for data, _ in datagrams]))
        return channel

    return open_channel


@pytest.fixture
def listener() -> Callable[[Address], ComponentSpec[ListenerDeps, Listener]]:
    """Return a listener at this address."""
    return lambda address: ComponentSpec("listener", LISTENER, address)


@pytest.fixture
async def clock() -> ClockLoop:
    """Let time pass by `ClockLoop.advance` only."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    return loop
