"""The two markers of pluggy: `hookspec` for the core, `hookimpl` for plugins."""

from __future__ import annotations

from typing import Final

import pluggy

PROJECT: Final = "outline_lb"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
