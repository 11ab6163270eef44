"""A cipher that hides nothing and a listener without a handshake: what stands around them is under test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import anyio
import pytest

from outline_lb.api import (
    Accepted,
    Address,
    Buffer,
    Cipher,
    ClientCipher,
    ComponentSpec,
    Listener,
    ListenerDeps,
    Opener,
    ProtocolError,
    Registration,
    RejectedError,
    Sealer,
    Secret,
    ServerCipher,
    SocketListener,
    Stream,
    decode_address,
    encode_address,
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


class PlainListener(Listener):
    """Accepts TCP connections."""

    def __init__(self, listen: Address, deps: ListenerDeps) -> None:
        self._listen = listen
        self._bind = deps.bind
        self._socket: SocketListener

    @property
    def address(self) -> Address:
        return self._socket.address

    async def prepare(self) -> None:
        self._socket = self._bind(self._listen)

    async def serve(self, accepted: Callable[[Stream], None]) -> None:
        self._socket.start(accepted)
        try:
            await anyio.sleep_forever()
        finally:
            self._socket.stop()

    async def close(self) -> None:
        self._socket.close()


CIPHER: Registration[int, None, Cipher] = Registration("toy", {}, lambda raw: int(raw["mark"]), lambda mark, _: ToyCipher(mark))
LISTENER: Registration[Address, ListenerDeps, Listener] = Registration("plain", {}, lambda raw: Address.parse(raw["listen"]), PlainListener)


@pytest.fixture
def cipher() -> Callable[[int], ComponentSpec[None, Cipher]]:
    """Return the toy cipher with this mark."""
    return lambda mark: ComponentSpec("cipher", CIPHER, mark)


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
