"""Packets that could not be delivered: counted, and told once."""

from __future__ import annotations

from collections import Counter

import structlog

log = structlog.get_logger("packets")


class Drops:
    """The packets that one place had to drop, by reason. The first of each reason is logged, with where that was.

    :param where: what the line says beside the reason, such as ``upstream="one"``
    """

    __slots__ = ("_where", "counts")

    def __init__(self, **where: object) -> None:
        self.counts: Counter[str] = Counter()
        self._where = where

    def count(self, reason: str, packets: int = 1, mend: str | None = None) -> None:
        """Note that packets were dropped.

        :param reason: why, in few words; one of few
        :param packets: how many
        :param mend: what a user can do about it
        """
        if reason not in self.counts:
            if mend is None:
                log.info("packets dropped", reason=reason, **self._where)
            else:
                log.warning("packets dropped", reason=reason, mend=mend, **self._where)
        self.counts[reason] += packets
