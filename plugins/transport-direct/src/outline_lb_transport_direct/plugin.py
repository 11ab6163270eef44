"""Registers the transport ``direct``."""

from __future__ import annotations

from collections.abc import Iterable

from outline_lb.api import Registration, Transport, TransportDeps, hookimpl

from .options import SCHEMA, Options
from .transport import Direct

OUTLINE_LB_API = 1


@hookimpl
def outline_lb_transports() -> Iterable[Registration[Options, TransportDeps, Transport]]:
    return [Registration(type="direct", schema=SCHEMA, parse=Options.parse, build=Direct)]
