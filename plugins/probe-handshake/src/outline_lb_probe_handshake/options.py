"""What can be configured: nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "additionalProperties": False, "properties": {}}


@dataclass(frozen=True, slots=True)
class Options:
    """No options."""

    @staticmethod
    def parse(raw: Mapping[str, Any]) -> Options:
        """Make options from a validated node."""
        return Options()
