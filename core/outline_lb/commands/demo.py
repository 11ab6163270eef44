"""``outline-lb demo``: the main job on this machine alone."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from .common import run_async

if TYPE_CHECKING:
    from .common import Commands


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("demo", help="show what it does, on this machine alone", description="Three servers, one client, one accident.")
    parser.add_argument("--once", action="store_true", help="end after the story instead of waiting for you to try it")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Tell the story."""
    from ..demo.story import tell

    try:
        return run_async(partial(tell, options.once))
    except KeyboardInterrupt:
        return 0
