from __future__ import annotations

from pathlib import Path

import pytest

from outline_lb import __version__
from outline_lb.base.errors import ConfigError, PluginError, Problem, StartError
from outline_lb.cli import main
from outline_lb.commands.common import config_places


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"outline-lb {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["demo", "--help"]])
def test_help_says_what_there_is(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: outline-lb" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["run", "--log-level", "loud"], ["stray"]])
def test_a_wrong_command_line_ends_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "outline-lb" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1])
def test_the_first_configuration_that_is_there_is_read(place: int, somewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config_places()[place]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("version: 7\n")
    assert main([]) == 2
    assert str(file) in capsys.readouterr().err


def test_each_kind_of_error_has_its_code(somewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (somewhere / "x.yaml").write_text("version: 1\n")
    errors = [(ConfigError(Problem("one"), Problem("two")), 2, 2), (PluginError("broken"), 2, 1), (StartError("no port"), 1, 1)]
    for error, code, lines in errors:

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("outline_lb.config.load.load", fail)
        assert main(["-c", "x.yaml"]) == code
        written = capsys.readouterr().err.splitlines()
        assert len(written) == lines
        assert all(line.startswith("outline-lb: ") for line in written)
