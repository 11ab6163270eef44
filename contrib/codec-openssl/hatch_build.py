"""Compiles the extension on the way into the wheel."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden")


class CompileExtension(BuildHookInterface):  # type: ignore[type-arg]
    """Adds ``_chunks.abi3.so``: one for every CPython from 3.11 on. The compiler is that of ``CC``, with ``CFLAGS`` and ``LDFLAGS``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile."""
        self._folder = tempfile.TemporaryDirectory()
        source = Path(self.root, "src", "outline_lb_codec_openssl", "chunks.c")
        library = Path(self._folder.name, "_chunks.abi3.so")
        compiler, before, behind = (shlex.split(os.environ.get(name, default)) for name, default in (("CC", "cc"), ("CFLAGS", ""), ("LDFLAGS", "")))
        include = f"-I{sysconfig.get_path('include')}"
        subprocess.run([*compiler, *FLAGS, *before, include, str(source), "-o", str(library), *behind, "-lcrypto"], check=True)
        build_data["force_include"][str(library)] = f"outline_lb_codec_openssl/{library.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clean up."""
        self._folder.cleanup()
