from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from service_manager import ServiceManager
from structlog.testing import capture_logs

from outline_lb.net.service_manager import notify, notify_reloading


async def test_states_arrive_in_one_message(manager: ServiceManager) -> None:
    notify("READY=1", "STATUS=serving")
    assert await manager.told() == ["READY=1", "STATUS=serving"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="only Linux has abstract names")
async def test_an_abstract_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"outline-lb-test-{os.getpid()}"
    manager = ServiceManager(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    notify("STOPPING=1")
    assert await manager.told() == ["STOPPING=1"]
    manager.close()


async def test_a_reload_has_the_time_at_which_it_began(manager: ServiceManager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify_reloading()
    state, microseconds, _ = await manager.told()
    assert state == "RELOADING=1"
    assert before <= int(microseconds.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_without_a_service_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with capture_logs() as logs:
        notify("READY=1")
    assert logs == []


def test_a_service_manager_that_does_not_listen_is_reported_and_harms_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with capture_logs() as logs:
        notify("READY=1")
    assert [line["event"] for line in logs] == ["cannot tell the service manager"]
