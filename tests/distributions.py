"""Distributions that are installed for one test: folders with metadata and modules, as an installer leaves them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent

PREFACE = """
    from dataclasses import dataclass
    from outline_lb.api import Registration, hookimpl
    OUTLINE_LB_API = 1
    CALLS = []
    def build(options, deps):
        return ("built", options, deps)
    def register(*types):
        CALLS.append(types)
        return [Registration(type, {"type": "object", "additionalProperties": False}, dict, build) for type in types]
"""


def plugin(**hooks: str) -> str:
    """Return the source of a module that registers types: name of the hook, without its prefix, to types separated by blanks."""
    lines = [f"@hookimpl\ndef outline_lb_{hook}():\n    return register({', '.join(map(repr, types.split()))})" for hook, types in hooks.items()]
    return "\n".join([dedent(PREFACE), *lines])


class Site:
    """A folder like site-packages.

    :param folder: where; not there yet
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def install(self, name: str, entry_points: Mapping[str, Iterable[str] | str], modules: Mapping[str, str], version: str = "1.0") -> None:
        """Install a distribution.

        :param name: its name
        :param entry_points: group, without its prefix, to lines such as ``zebra = zebra_plugin``
        :param modules: module to source
        :param version: its version
        """
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = {group: [lines] if isinstance(lines, str) else lines for group, lines in entry_points.items()}
        (info / "entry_points.txt").write_text("".join("\n".join([f"[outline_lb.{group}]", *lines, ""]) for group, lines in groups.items()))
        for module, source in modules.items():
            (self.folder / f"{module}.py").write_text(dedent(source))
        importlib.invalidate_caches()

    def forget(self) -> None:
        """Take everything that was imported from here out of memory."""
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").parent == self.folder:
                del sys.modules[name]
