"""What seals and opens chunks: Python, or something faster that is installed beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import cache
from importlib import metadata
from typing import Final

import structlog

from outline_lb.api import Opener, Sealer, StartError, describe

from .chunks import ChunkOpener, ChunkSealer
from .method import METHODS

log = structlog.get_logger("cipher")

GROUP: Final = "outline_lb_cipher_aead.codecs"
"""Entry points that name a `Codec`."""
AUTO: Final = "auto"
PYTHON: Final = "python"


class Codec(ABC):
    """Makes the two ends of a direction. Both must do byte for byte what `ChunkSealer` and `ChunkOpener` do, errors and their texts included."""

    methods: Collection[str]
    """Names of the methods that it can do."""

    @abstractmethod
    def sealer(self, method: str, master: bytes, salt: bytes, header: bytes = b"") -> Sealer:
        """Begin to seal a direction.

        :param method: one of `methods`
        :param master: the key of the secret
        :param salt: never used before with this key
        :param header: what the plaintext begins with, in one chunk with the first data
        """

    @abstractmethod
    def opener(self, method: str, master: bytes) -> Opener:
        """Begin to open a direction.

        :param method: one of `methods`
        :param master: the key of the secret
        """


class PythonCodec(Codec):
    """Always there, and the measure of the others."""

    methods = METHODS.keys()

    def sealer(self, method: str, master: bytes, salt: bytes, header: bytes = b"") -> Sealer:
        return ChunkSealer(METHODS[method], master, salt, header)

    def opener(self, method: str, master: bytes) -> Opener:
        return ChunkOpener(METHODS[method], master)


@cache
def _entries() -> Mapping[str, metadata.EntryPoint]:
    """Look through what is installed, once: that takes as long as building a hundred ciphers."""
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP) if entry.name not in {PYTHON, AUTO}}


def installed() -> list[str]:
    """Return the names of the codecs that there are, that in Python first; nothing is imported."""
    return [PYTHON, *sorted(_entries())]


@cache
def find(name: str, method: str) -> Codec:
    """Return the codec to use.

    :param name: one of `installed`; or `AUTO`: the first one that works and is not in Python, else that one
    :param method: what it must be able to do
    :raises StartError: if the codec that was named cannot be used
    """
    if name != AUTO:
        return _load(name, method)
    for other in installed()[1:]:
        try:
            return _load(other, method)
        except StartError as error:
            log.warning("codec not used", error=error)
    return _load(PYTHON, method)


def _load(name: str, method: str) -> Codec:
    if name == PYTHON:
        return PythonCodec()
    entry = _entries()[name]
    try:
        codec = entry.load()
    except Exception as error:
        raise StartError(f"the codec {name} cannot be imported: {type(error).__name__}: {describe(error)}") from error
    if not isinstance(codec, Codec):
        raise StartError(f"the codec {name} is none: {entry.value} is no Codec")
    if method not in codec.methods:
        raise StartError(f"the codec {name} cannot do {method}: it can do {', '.join(sorted(codec.methods))}")
    return codec
