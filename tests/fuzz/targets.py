"""All fuzz targets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fuzz import config, shadowsocks, socks5, text, upgrade, websocket
from fuzz.harness import Target

CORPUS: Final = Path(__file__).with_name("corpus")
"""A folder for each target, with the inputs that every run begins with."""

TARGETS: Final[dict[str, Target]] = {
    target.name: target for module in (socks5, websocket, upgrade, shadowsocks, text, config) for target in module.TARGETS
}


def corpus(name: str) -> list[Path]:
    """Return the files of a target, in order."""
    return sorted((CORPUS / name).iterdir())
