from __future__ import annotations

from pathlib import Path

import programs
import pytest
from programs import NO_SKIP, require_program


def test_present_program_is_returned() -> None:
    assert require_program("sh", "apt-get install dash").endswith("/sh")


def test_program_that_contrib_installed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PEERS", tmp_path)
    (tmp_path / "no-such-program").touch(0o755)
    assert require_program("no-such-program", programs.PEERS_INSTALL) == str(tmp_path / "no-such-program")


def test_absent_program_skips_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NO_SKIP, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed: apt-get install nothing"):
        require_program("no-such-program", "apt-get install nothing")


def test_absent_program_fails_where_it_could_have_been_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_SKIP, "curl no-such-program")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed: apt-get install nothing"):
        require_program("no-such-program", "apt-get install nothing")
