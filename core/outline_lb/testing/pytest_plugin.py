"""Fixtures for async tests; add ``-p outline_lb.testing.pytest_plugin`` to pytest's options."""

from __future__ import annotations

from typing import Any

import pytest

from .clock import ClockLoop

pytest.register_assert_rewrite("outline_lb.testing.conformance")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; register the fixtures after anyio's, which they replace."""
    config.addinivalue_line("markers", "fake_clock: time passes only when nothing else is left to do (see outline_lb.testing.clock)")
    config.pluginmanager.register(_Fixtures())


class _Fixtures:
    @pytest.fixture
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
        """Run async tests on asyncio; those marked `fake_clock` on a `ClockLoop`."""
        fake = request.node.get_closest_marker("fake_clock") is not None
        return "asyncio", {"loop_factory": ClockLoop} if fake else {}
