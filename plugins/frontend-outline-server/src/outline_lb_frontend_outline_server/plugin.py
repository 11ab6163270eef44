"""Registers the Outline server."""

from __future__ import annotations

from typing import Final

from outline_lb.api import Frontend, FrontendDeps, Registration, hookimpl

from .frontend import OutlineServer
from .options import SCHEMA, Options

OUTLINE_LB_API: Final = 1


@hookimpl
def outline_lb_frontends() -> list[Registration[Options, FrontendDeps, Frontend]]:
    """Contribute the Outline server."""
    return [Registration(type="outline-server", schema=SCHEMA, parse=Options.parse, build=OutlineServer)]
