"""What libraries and Python itself say, such as that a task's exception was never retrieved: lines like all others, in a room of their own."""

from __future__ import annotations

import logging

import structlog

from .levels import LEVELS, PYTHON, Levels


class Forwarder(logging.Handler):
    """Takes the standard library's log records to structlog, and warnings with them."""

    def attach(self) -> None:
        """Begin."""
        logging.getLogger().addHandler(self)
        logging.captureWarnings(True)

    def configure(self, levels: Levels) -> None:
        """Say what is shown."""
        logging.getLogger().setLevel(levels.of(PYTHON).upper())

    def detach(self) -> None:
        """End."""
        logging.captureWarnings(False)
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record: its first line is the event, the others are details."""
        try:
            event, _, details = record.getMessage().strip().partition("\n")
            level = next((name for name in reversed(LEVELS) if record.levelno >= logging.getLevelNamesMapping()[name.upper()]), "debug")
            tell = getattr(structlog.get_logger(PYTHON), level)
            tell(event, source=record.name, details=details or None, exc_info=record.exc_info)
        except Exception:  # a record whose text cannot be made
            self.handleError(record)
