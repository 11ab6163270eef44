"""Registers the probe ``handshake``."""

from __future__ import annotations

from collections.abc import Iterable

from outline_lb.api import Probe, Registration, hookimpl

from .options import SCHEMA, Options
from .probe import HandshakeProbe

OUTLINE_LB_API = 1


@hookimpl
def outline_lb_probes() -> Iterable[Registration[Options, None, Probe]]:
    return [Registration(type="handshake", schema=SCHEMA, parse=Options.parse, build=lambda _options, _: HandshakeProbe())]
