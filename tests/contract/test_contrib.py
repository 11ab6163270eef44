"""The scripts that `make` runs, where a whole set-up is not needed to see them work."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"


def script(name: str) -> ModuleType:
    """Import a file of contrib/, which is no package, afresh."""
    spec = importlib.util.spec_from_file_location(name, CONTRIB / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bootstrap(tmp_path: Path) -> ModuleType:
    """Return the set-up script for a checkout with one plugin, whose folder's name has a space."""
    module = script("bootstrap")
    root = tmp_path / "check out"
    (root / "plugins" / "policy-one").mkdir(parents=True)
    for name in ("pyproject.toml", "plugins/policy-one/pyproject.toml", "constraints.txt"):
        (root / name).touch()
    vars(module).update(ROOT=root, VENV=root / ".venv", STAMP=root / ".venv" / "stamp", CONSTRAINTS=root / "constraints.txt")
    vars(module).update(PYTHON=root / ".venv" / "bin" / "python")
    module.PYTHON.parent.mkdir(parents=True)
    return module


def test_nothing_is_ready_without_a_stamp(bootstrap: ModuleType) -> None:
    bootstrap.PYTHON.touch()
    assert not bootstrap.is_ready(dev=False)


def test_set_up_with_tools_is_also_one_without(bootstrap: ModuleType) -> None:
    bootstrap.PYTHON.touch()
    bootstrap.STAMP.write_text(f"{bootstrap.fingerprint(dev=False)} {bootstrap.fingerprint(dev=True)}")
    assert bootstrap.is_ready(dev=True)
    assert bootstrap.is_ready(dev=False)


def test_set_up_without_tools_is_none_with_them(bootstrap: ModuleType) -> None:
    bootstrap.PYTHON.touch()
    bootstrap.STAMP.write_text(bootstrap.fingerprint(dev=False))
    assert bootstrap.is_ready(dev=False)
    assert not bootstrap.is_ready(dev=True)


@pytest.mark.parametrize("changed", ["pyproject.toml", "plugins/policy-one/pyproject.toml", "plugins/policy-two/pyproject.toml", "constraints.txt"])
def test_change_of_what_is_needed_asks_for_another_set_up(bootstrap: ModuleType, changed: str) -> None:
    bootstrap.PYTHON.touch()
    bootstrap.STAMP.write_text(bootstrap.fingerprint(dev=False))
    (bootstrap.ROOT / changed).parent.mkdir(exist_ok=True)
    (bootstrap.ROOT / changed).write_text("changed")
    assert not bootstrap.is_ready(dev=False)


def test_environment_whose_python_is_gone_is_not_ready(bootstrap: ModuleType) -> None:
    bootstrap.STAMP.write_text(bootstrap.fingerprint(dev=False))
    bootstrap.PYTHON.symlink_to("/no/such/python")
    assert not bootstrap.is_ready(dev=False)


@pytest.mark.parametrize("answer", ["exit 1", "echo pip 1 from /elsewhere/.venv '(python {version})'", "echo pip 1 from '{venv}' '(python 2.7)'"])
def test_environment_of_another_place_or_python_is_not_usable(bootstrap: ModuleType, answer: str) -> None:
    pip = bootstrap.VENV / "bin" / "pip"
    assert not bootstrap.is_usable()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for line, usable in ((answer, False), ("echo pip 1 from '{venv}/lib' '(python {version})'", True)):
        pip.write_text("#!/bin/sh\n" + line.format(version=version, venv=bootstrap.VENV))
        pip.chmod(0o755)
        assert bootstrap.is_usable() is usable


def test_plugin_whose_folder_is_gone_has_departed(bootstrap: ModuleType) -> None:
    for name in ("one", "gone"):
        info = bootstrap.VENV / "lib" / "python3.11" / "site-packages" / f"outline_lb_policy_{name}-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "direct_url.json").write_text(json.dumps({"url": (bootstrap.ROOT / "plugins" / f"policy-{name}").as_uri()}))
    assert bootstrap.departed() == ["outline_lb_policy_gone"]


def test_failing_program_tells_what_it_said(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"`sh -c .* \.\.\.` failed with exit code 3") as failure:
        bootstrap.output("sh", "-c", "echo reason; exit 3")
    assert failure.value.output == "reason\n"


def test_old_python_without_a_newer_one_is_one_clear_line(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bootstrap.ROOT))
    with pytest.raises(bootstrap.SetupError, match=r"needs Python 3\.11 or newer.* none of python3\.13, python3\.12, python3\.11 is on the path"):
        bootstrap.start_over_with_newer_python()


def test_summary_counts_and_gives_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skip = '<testcase><skipped message="v2ray is not installed: apt-get install v2ray"/></testcase>'
    attributes = 'tests="7" failures="1" errors="1" skipped="2" time="1.5"'
    (tmp_path / "interop.xml").write_text(f"<testsuites><testsuite {attributes}>{skip}{skip}</testsuite></testsuites>")
    summary = script("summary")
    vars(summary).update(REPORTS=tmp_path)
    assert summary.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["interop", "3", "passed", "2", "failed", "2", "skipped", "1.5", "s"]
    assert "  2 x interop: v2ray is not installed: apt-get install v2ray" in lines
    assert lines[-1] == "3 passed, 2 failed, 2 skipped"


def test_summary_of_nothing_is_a_failure(tmp_path: Path) -> None:
    summary = script("summary")
    vars(summary).update(REPORTS=tmp_path)
    assert summary.main() == 1


def run_peers(monkeypatch: pytest.MonkeyPatch, peers: ModuleType, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["peers.py", *arguments])
    assert peers.main() == 0


def fake_peer(folder: Path, name: str, exit_code: int = 0) -> None:
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    file.chmod(0o755)


def test_peer_that_is_there_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    peers = script("peers")
    for name in peers.PEERS:
        fake_peer(tmp_path, name)
    run_peers(monkeypatch, peers, "--into", str(tmp_path))
    assert capsys.readouterr().out.splitlines() == [f"{name}: already there" for name in peers.PEERS]


def test_peer_that_cannot_be_had_is_one_line_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    run_peers(monkeypatch, script("peers"), "--into", str(tmp_path / "into"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "outline-ss-server: not installed: no go on the path"
    assert lines[1].startswith("xray: not installed: ")
    assert lines[2] == "autobahn: not installed: no python2.7 on the path, nor in ~/.pyenv/versions"


def test_list_names_the_peers_that_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_peer(tmp_path, "xray")
    fake_peer(tmp_path, "autobahn", exit_code=1)
    run_peers(monkeypatch, script("peers"), "--list", "--into", str(tmp_path))
    assert capsys.readouterr().out.splitlines() == ["xray"]


def test_go_that_is_too_old_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.19.8\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    peers = script("peers")
    with pytest.raises(peers.PeerError, match=r"is 1\.19\.8, and .* needs 1\.21"):
        peers.install_outline_ss_server(tmp_path)


def test_launcher_stands_any_name_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / 'a folder\'s "name"'
    folder.mkdir()
    (folder / "module.py").write_text("NAME = 'found'")
    script("peers").make_launcher(folder, "some", folder, sys.executable, "import module, sys; print(module.NAME, *sys.argv[1:])")
    said = subprocess.run([folder / "bin" / "some", "a b"], capture_output=True, text=True, check=True)
    assert said.stdout == "found a b\n"
