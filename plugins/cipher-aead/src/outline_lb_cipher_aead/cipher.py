"""Both ends of a method."""

from __future__ import annotations

from collections.abc import Mapping

from outline_lb.api import Cipher, ClientCipher, Secret, ServerCipher

from .client import AeadClient
from .method import Method
from .options import Options
from .server import AeadServer


class AeadCipher(Cipher):
    """A method, with what the configuration says about it.

    :param method: the algorithm
    :param options: from the configuration
    """

    def __init__(self, method: Method, options: Options) -> None:
        self._method = method
        self._options = options

    def client(self, secret: Secret, prefix: bytes) -> ClientCipher:
        return AeadClient(self._method, secret, prefix)

    def server(self, keys: Mapping[str, Secret]) -> ServerCipher:
        return AeadServer(self._method, keys, self._options.replay_history)
