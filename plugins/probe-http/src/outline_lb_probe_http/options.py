"""What can be configured: the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from outline_lb.api import Address

URL: Final = "http://connectivitycheck.gstatic.com/generate_204"

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "url": {
            "title": "an http:// URL",
            "description": "What to ask for through the upstream. Any answer will do.",
            "type": "string",
            "pattern": "^http://",
            "default": URL,
        }
    },
}


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for.

    :param target: the web server
    :param host: what the Host header says
    :param path: with the query
    """

    target: Address
    host: str
    path: str

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Read a validated node.

        :raises ValueError: if the URL cannot be used
        """
        url: str = raw["url"]
        if not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
            raise ValueError("url: holds characters that must be percent-encoded")
        parts = urlsplit(url)
        if parts.username is not None or parts.fragment or not parts.hostname:
            raise ValueError("url: write http://host/path, without user info and fragment")
        target = Address.of(parts.hostname, 80 if parts.port is None else parts.port)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(target, parts.netloc, path)
