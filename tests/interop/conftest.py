"""Servers and clients that we did not write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TlsFiles
from interop.peer import CIPHERS, Peers


@pytest.fixture(params=CIPHERS)
def cipher(request: pytest.FixtureRequest) -> str:
    """Run with each cipher."""
    return str(request.param)


@pytest.fixture
def peers(tmp_path: Path, tls_files: TlsFiles) -> Iterator[Peers]:
    """Start foreign programs, which end with the test."""
    peers = Peers(tmp_path, tls_files)
    yield peers
    peers.kill_all()
