"""Registers the probe ``dns``."""

from __future__ import annotations

from collections.abc import Iterable

from outline_lb.api import Probe, Registration, hookimpl

from .options import SCHEMA, Options
from .probe import DnsProbe

OUTLINE_LB_API = 1


@hookimpl
def outline_lb_probes() -> Iterable[Registration[Options, None, Probe]]:
    return [Registration(type="dns", schema=SCHEMA, parse=Options.parse, build=lambda options, _: DnsProbe(options))]
