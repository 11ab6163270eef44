"""What can be configured: the question, and who is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline_lb.api import Address

from .message import TYPES, question

PORT: Final = 53
SERVERS: Final = ("1.1.1.1:53", "8.8.8.8:53")

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "servers": {
            "description": "The name servers that are asked, all at once: addresses or names, with a port if it is not 53. One answer will do.",
            "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}],
            "default": list(SERVERS),
        },
        "name": {"description": "The name that they are asked for. Any answer will do.", "type": "string", "default": "example.com"},
        "record": {"description": "The type of records that they are asked for.", "enum": list(TYPES), "default": "A"},
    },
}


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked, and whom.

    :param servers: at least one
    :param question: as it stands in a query
    """

    servers: tuple[Address, ...]
    question: bytes

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Read a validated node.

        :raises ValueError: if a server or the name is none
        """
        servers = raw["servers"]
        try:
            asked = question(raw["name"], TYPES[raw["record"]])
        except ValueError as exc:
            raise ValueError(f"name: {exc}") from None
        return cls(tuple(map(_server, [servers] if isinstance(servers, str) else servers)), asked)


def _server(text: str) -> Address:
    try:
        return Address.parse(text if ":" in text and not text.endswith("]") else f"{text}:{PORT}")
    except ValueError as exc:
        raise ValueError(f"servers: {exc}") from None
