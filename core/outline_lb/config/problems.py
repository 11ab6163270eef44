"""Gathers what is wrong with a document, so that all of it is told at once."""

from __future__ import annotations

from typing import Final

from ..base.errors import ConfigError, Problem
from .source import Document

MAX_TOLD: Final = 100


class Problems:
    """What was found so far.

    :param document: what is being read
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[str, str], Problem] = {}
        self._warnings: dict[str, Problem] = {}
        self.count = 0
        """How often `add` was called."""

    def add(self, pointer: str, message: str) -> None:
        """Add one; the same one twice is told once.

        :param pointer: JSON pointer of the node
        :param message: what is wrong and what would be right, without any value that may be secret
        """
        self.count += 1
        self._found.setdefault((pointer, message), self._document.problem(pointer, message))

    def warn(self, pointer: str, message: str) -> None:
        """Add what is not wrong, but should be known; the same message is told once, at the first node."""
        self._warnings.setdefault(message, self._document.problem(pointer, message))

    def warn_of_secret(self, pointer: str) -> None:
        """Warn if a literal secret at a node can be read by other users."""
        document = self._document
        if document.exposed and not document.origin(pointer):
            self.warn(pointer, f"a secret stands here, and other users can read this file: chmod 600 {document.file}")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What was given to `warn`."""
        return tuple(self._warnings.values())

    def raise_if_any(self) -> None:
        """End the reading if anything was found.

        :raises ConfigError: with everything, or the first `MAX_TOLD`, in document order
        """
        if not self._found:
            return
        problems = sorted(self._found.values(), key=lambda problem: (problem.line, problem.column))
        if len(problems) > MAX_TOLD:
            problems[MAX_TOLD:] = [Problem(f"and {len(problems) - MAX_TOLD} more", file=problems[0].file)]
        raise ConfigError(*problems)
