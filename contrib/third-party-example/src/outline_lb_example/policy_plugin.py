"""Registers the policy ``cheapest``."""

from __future__ import annotations

from outline_lb.api import Policy, Registration, hookimpl

from .options import SCHEMA, Options
from .policy import CheapestPolicy

OUTLINE_LB_API = 1


@hookimpl
def outline_lb_policies() -> list[Registration[Options, None, Policy]]:
    """Contribute the policy."""
    return [Registration(type="cheapest", schema=SCHEMA, parse=Options.parse, build=lambda options, _: CheapestPolicy(options))]
