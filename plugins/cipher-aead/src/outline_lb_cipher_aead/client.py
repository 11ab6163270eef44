"""The client's end."""

from __future__ import annotations

import os

from outline_lb.api import Address, ClientCipher, Opener, PacketCodec, Sealer, Secret, encode_address

from .codec import Codec
from .key import MIN_RANDOM, master_key, secret_bytes
from .method import Method
from .packets import AeadPackets


class AeadClient(ClientCipher):
    """The client's end of a method.

    :param method: the algorithm
    :param secret: shared with the server
    :param prefix: how the salt of each stream begins; at least 16 bytes after it stay random
    :param codec: seals and opens
    :raises ValueError: if the secret is empty or the prefix too long
    """

    def __init__(self, method: Method, secret: Secret, prefix: bytes, codec: Codec) -> None:
        self._method = method
        self._codec = codec
        self._master = master_key(secret_bytes(secret), method.size)
        self._prefix = prefix
        self._random = method.size - len(prefix)
        if self._random < MIN_RANDOM:
            most = method.size - MIN_RANDOM
            raise ValueError(f"the prefix has {len(prefix)} bytes, and {method.name} takes at most {most}: {MIN_RANDOM} of its salt must stay random")

    def stream(self, target: Address) -> tuple[Sealer, Opener]:
        salt = self._prefix + os.urandom(self._random)
        codec, name, master = self._codec, self._method.name, self._master
        return codec.sealer(name, master, salt, encode_address(target)), codec.opener(name, master)

    def packets(self) -> PacketCodec:
        return AeadPackets(self._method, self._master)
