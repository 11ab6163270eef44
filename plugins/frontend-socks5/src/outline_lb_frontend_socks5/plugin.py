"""Registers the SOCKS5 frontend."""

from __future__ import annotations

from typing import Final

from outline_lb.api import Frontend, FrontendDeps, Registration, hookimpl

from .frontend import Socks5Frontend
from .options import SCHEMA, Options

OUTLINE_LB_API: Final = 1


@hookimpl
def outline_lb_frontends() -> list[Registration[Options, FrontendDeps, Frontend]]:
    """Contribute the SOCKS5 frontend."""
    return [Registration(type="socks5", schema=SCHEMA, parse=Options.parse, build=Socks5Frontend)]
