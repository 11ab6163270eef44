from __future__ import annotations

from pathlib import Path

import pytest

from outline_lb.base.errors import ConfigError, StartError
from outline_lb.commands.common import config_places, find_config, names, run_async


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path


def test_names_are_separated_by_commas() -> None:
    assert names("ws-h1, policy-fastest,,") == ["ws-h1", "policy-fastest"]


def test_without_a_configuration_anywhere_the_places_are_named(somewhere: Path) -> None:
    with pytest.raises(ConfigError, match=r"name one with -c FILE, or write one of outline-lb\.yaml, "):
        find_config()


def test_places_of_the_configuration(somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_places() == [
        Path("outline-lb.yaml"),
        somewhere / "home/outline-lb/outline-lb.yaml",
        Path("/etc/outline-lb/outline-lb.yaml"),
    ]
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert config_places()[1] == Path.home() / ".config/outline-lb/outline-lb.yaml"


def test_an_error_of_a_task_is_found_in_its_group() -> None:
    async def fail() -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [StartError("no port")])])

    with pytest.raises(StartError, match="no port"):
        run_async(fail)


def test_the_result_comes_back() -> None:
    async def work() -> int:
        return 7

    assert run_async(work) == 7
