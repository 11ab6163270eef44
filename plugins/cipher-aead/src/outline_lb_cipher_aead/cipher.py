"""Both ends of a method."""

from __future__ import annotations

from collections.abc import Mapping

from outline_lb.api import Cipher, ClientCipher, Secret, ServerCipher

from .client import AeadClient
from .codec import find
from .method import Method
from .options import Options
from .server import AeadServer


class AeadCipher(Cipher):
    """A method, with what the configuration says about it.

    :param method: the algorithm
    :param options: from the configuration
    :raises StartError: if the codec that they name cannot be used
    """

    def __init__(self, method: Method, options: Options) -> None:
        self._method = method
        self._options = options
        self._codec = find(options.codec, method.name)

    def client(self, secret: Secret, prefix: bytes) -> ClientCipher:
        return AeadClient(self._method, secret, prefix, self._codec)

    def server(self, keys: Mapping[str, Secret]) -> ServerCipher:
        return AeadServer(self._method, keys, self._options.replay_history, self._codec)
