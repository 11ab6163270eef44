"""What a configuration can say about the ciphers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

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
    },
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a cipher.

    :param replay_history: streams that a server remembers
    """

    replay_history: int

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Read the validated node."""
        return cls(replay_history=raw["replay_history"])
