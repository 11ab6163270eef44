"""Counts what goes through each upstream."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

log = structlog.get_logger("meter")


@dataclass(slots=True)
class Totals:
    """What went through one upstream so far.

    :param flows: flows that are over
    :param sent: their bytes from applications to targets
    :param received: their bytes from targets to applications
    :param seconds: how long they took, one after the other
    """

    flows: int = 0
    sent: int = 0
    received: int = 0
    seconds: float = 0.0


class Meter:
    """Keeps totals, and adds a line of JSON to a file each time that they change.

    :param file: the file; None: the log instead
    """

    def __init__(self, file: str | None) -> None:
        self._file = Path(file) if file else None
        self.totals: dict[str, Totals] = {}

    def count(self, upstream: str, sent: int, received: int, seconds: float) -> None:
        """Count a flow.

        :param upstream: who carried it
        :param sent: bytes from the application to the target
        :param received: bytes from the target to the application
        :param seconds: how long it took
        :raises OSError: if the file cannot be written
        """
        totals = self.totals.setdefault(upstream, Totals())
        totals.flows += 1
        totals.sent += sent
        totals.received += received
        totals.seconds = round(totals.seconds + seconds, 3)
        if self._file is None:
            log.info("metered", upstream=upstream, **asdict(totals))
            return
        with self._file.open("a", encoding="utf-8") as output:
            output.write(json.dumps({"upstream": upstream, **asdict(totals)}) + "\n")
