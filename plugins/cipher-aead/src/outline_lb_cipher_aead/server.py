"""The server's end: finds out whose stream it is, and whether it was here before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag

from outline_lb.api import Accepted, AcceptedPackets, Packet, ProtocolError, RejectedError, Secret, ServerCipher, decode_address

from .chunks import LENGTH
from .codec import Codec
from .key import SaltMark, master_key, secret_bytes, subkey
from .method import Method
from .packets import AeadPackets, open_datagram, split_header
from .replay import ReplayCache

HEADER_LIMIT: Final = 32 * 1024
"""Bytes in which every address is complete: 259 chunks of a byte or a little more; only empty chunks could fill more than that."""

_NONCE: Final = bytes(12)


class _Key:
    """What a server knows about one user."""

    __slots__ = ("mark", "master", "user")

    def __init__(self, user: str, secret: bytes, size: int) -> None:
        self.user = user
        self.master = master_key(secret, size)
        self.mark = SaltMark(secret, size)


class AeadServer(ServerCipher):
    """The server's end of a method. Of users with the same secret, the first is meant.

    :param method: the algorithm
    :param keys: user name to secret
    :param replay_history: streams that are remembered, and up to as many before them; 0: none
    :param codec: seals and opens
    :raises ValueError: if a secret is empty
    """

    def __init__(self, method: Method, keys: Mapping[str, Secret], replay_history: int, codec: Codec) -> None:
        self._method = method
        self._codec = codec
        self._keys = [_Key(user, secret_bytes(secret), method.size) for user, secret in keys.items()]  # the last one used first
        self._replays = ReplayCache(replay_history)

    def accept(self, data: bytes) -> Accepted | None:
        size = self._method.size
        if len(data) < size + LENGTH:
            return None
        salt = data[:size]
        key = self._find(salt, data[size : size + LENGTH])
        if key.mark.is_on(salt):
            raise RejectedError("one of our own answers came back")
        opener = self._codec.opener(self._method.name, key.master)
        try:
            plain = b"".join(opener.feed(data))
        except ProtocolError as exc:
            raise RejectedError(str(exc)) from None
        header = decode_address(plain)
        if header is None:
            if len(data) > HEADER_LIMIT:
                raise RejectedError("the address does not come to an end")
            return None
        if not self._replays.add(salt):
            raise RejectedError("this stream was here before")
        target, end = header
        sealer = self._codec.sealer(self._method.name, key.master, key.mark.new_salt())
        return Accepted(key.user, target, sealer, opener, plain[end:])

    def accept_packets(self, datagram: bytes) -> AcceptedPackets:
        for index, key in enumerate(self._keys):
            try:
                plain = open_datagram(self._method, key.master, datagram)
            except InvalidTag:
                continue
            self._prefer(index)
            target, header = split_header(plain)
            return AcceptedPackets(key.user, Packet(target, plain[len(header) :]), AeadPackets(self._method, key.master))
        raise RejectedError("no key fits")

    def _find(self, salt: bytes, length: bytes) -> _Key:
        """Return the key that opens the first unit."""
        aead = self._method.aead
        for index, key in enumerate(self._keys):
            try:
                aead(subkey(key.master, salt)).decrypt(_NONCE, length, None)
            except InvalidTag:
                continue
            self._prefer(index)
            return key
        raise RejectedError("no key fits")

    def _prefer(self, index: int) -> None:
        """Let a key be tried first next time."""
        if index:
            self._keys.insert(0, self._keys.pop(index))
