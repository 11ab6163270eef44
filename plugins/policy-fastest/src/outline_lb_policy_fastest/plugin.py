"""Registers the policy ``fastest``."""

from __future__ import annotations

from collections.abc import Iterable

from outline_lb.api import Policy, Registration, hookimpl

from .options import SCHEMA, Options
from .policy import FastestPolicy

OUTLINE_LB_API = 1


@hookimpl
def outline_lb_policies() -> Iterable[Registration[Options, None, Policy]]:
    return [Registration(type="fastest", schema=SCHEMA, parse=Options.parse, build=lambda options, _: FastestPolicy(options))]
