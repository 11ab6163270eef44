"""What a configuration can say about the ciphers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .codec import AUTO, PYTHON, installed

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "replay_history": {
            "description": "As a server: how many streams to remember, so that a recorded one is not served again; 0: none. As a client: of no use.",
            "type": "integer",
            "minimum": 0,
            "maximum": 1_000_000,
            "default": 10_000,
        },
        "codec": {
            "description": "What encrypts and decrypts: auto (a compiled codec if one is installed), python, or the name of one that is installed.",
            "type": "string",
            "default": AUTO,
        },
    },
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a cipher.

    :param replay_history: streams that a server remembers
    :param codec: name of what encrypts and decrypts, or `AUTO`
    """

    replay_history: int
    codec: str = AUTO

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Read the validated node.

        :raises ValueError: if there is no codec of this name
        """
        codec = raw["codec"]
        if codec not in {AUTO, PYTHON} and codec not in installed():
            raise ValueError(f"there is no codec {codec}: write {AUTO} or one of {', '.join(installed())}, or install it")
        return cls(replay_history=raw["replay_history"], codec=codec)
