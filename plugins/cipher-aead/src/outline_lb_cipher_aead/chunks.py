"""One direction of a stream: ``salt || { seal(length) || seal(payload) }*`` (SIP004).

The nonce counts the units of a key from 0, in 12 bytes: at two for each chunk it would take 2^95 chunks to come round, so nobody looks for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag

from outline_lb.api import Buffer, Opener, ProtocolError, Sealer

from .key import subkey
from .method import TAG, Method

CHUNK: Final = 0x3FFF
"""The most bytes of payload in one chunk; the two bits above are reserved."""

BATCH: Final = 8 * CHUNK
LENGTH: Final = 2 + TAG


class ChunkSealer(Sealer):
    """Seals one direction.

    :param method: the algorithm
    :param master: the key of the secret
    :param salt: never used before with this key
    :param header: what the plaintext begins with, in one chunk with the first data
    """

    __slots__ = ("_encrypt", "_header", "_nonce", "_salt")

    def __init__(self, method: Method, master: bytes, salt: bytes, header: bytes = b"") -> None:
        self._encrypt = method.aead(subkey(master, salt)).encrypt_into
        self._nonce = 0
        self._salt = salt
        self._header = header

    @property
    def batch(self) -> int:
        return BATCH

    def seal_into(self, data: Buffer, out: memoryview) -> int:
        used, nonce, encrypt = 0, self._nonce, self._encrypt
        if self._salt:
            used = len(self._salt)
            out[:used] = self._salt
            data = b"".join((self._header, data))
            self._salt = self._header = b""
        length = len(data)
        if length > CHUNK:
            data = memoryview(data)
        for start in range(0, length, CHUNK):
            piece = data[start : start + CHUNK]
            size = len(piece)
            body = used + LENGTH
            encrypt(nonce.to_bytes(12, "little"), size.to_bytes(2, "big"), None, out[used:body])
            used = body + size + TAG
            encrypt((nonce + 1).to_bytes(12, "little"), piece, None, out[body:used])
            nonce += 2
        self._nonce = nonce
        return used


class ChunkOpener(Opener):
    """Opens one direction. Keeps at most one unit that has not come completely: 16 KB, whatever the peer claims.

    :param method: the algorithm
    :param master: the key of the secret
    """

    __slots__ = ("_carry", "_decrypt", "_master", "_method", "_need", "_nonce")

    def __init__(self, method: Method, master: bytes) -> None:
        self._method = method
        self._master = master
        self._decrypt: Callable[[bytes, Buffer, None], bytes] | None = None  # once the salt has come
        self._nonce = 0
        self._need = 0  # bytes of the payload unit whose length has been opened; 0: a length comes next
        self._carry = b""

    def feed(self, data: Buffer) -> list[bytes]:
        if self._carry:
            data = self._carry + data
            self._carry = b""
        position, end = 0, len(data)
        pieces: list[bytes] = []
        decrypt, nonce, need = self._decrypt, self._nonce, self._need
        if decrypt is None:
            position = self._method.size
            if end < position:
                self._carry = bytes(data)
                return pieces
            decrypt = self._decrypt = self._method.aead(subkey(self._master, bytes(data[:position]))).decrypt
        try:
            while True:
                if not need:
                    body = position + LENGTH
                    if body > end:
                        break
                    length = decrypt(nonce.to_bytes(12, "little"), data[position:body], None)
                    need = ((length[0] << 8 | length[1]) & CHUNK) + TAG
                    position = body
                    nonce += 1
                stop = position + need
                if stop > end:
                    break
                piece = decrypt(nonce.to_bytes(12, "little"), data[position:stop], None)
                if piece:
                    pieces.append(piece)
                position, need = stop, 0
                nonce += 1
        except InvalidTag:
            self._nonce, self._need = nonce, 0
            self._carry = bytes(data[stop if need else body :])  # as if the unit had not been there
            raise ProtocolError(f"authentication failed: {'damaged on the way' if nonce else 'wrong secret or cipher'}?") from None
        self._nonce, self._need = nonce, need
        if position < end:
            self._carry = bytes(data[position:])
        return pieces

    @property
    def complete(self) -> bool:
        return not self._need and not self._carry
