"""Only what is selected is imported; what is left open is filled by what the command line names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
version: 1
frontends: {local: {type: socks5, listen: "127.0.0.1:0"}}
upstreams:
  one: {tcp: "wss://127.0.0.1:1/x", secret: s}
"""

SCRIPT = """
import json, sys
from pathlib import Path
from outline_lb.config.load import load
load(Path(sys.argv[1]), sys.argv[2:])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

HELP_SCRIPT = """
import sys
from outline_lb.cli import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in sys.modules if name.startswith("outline_lb_")])
"""


def imported(config: str, folder: Path, *names: str) -> set[str]:
    """Load a configuration in a fresh interpreter; return the plugin packages that this imported."""
    file = folder / "config.yaml"
    file.write_text(config)
    output = subprocess.run([sys.executable, "-c", SCRIPT, str(file), *names], check=True, stdout=subprocess.PIPE).stdout
    return {name for name in json.loads(output) if name.startswith("outline_lb_")} - {"outline_lb_schemas", "outline_lb_websocket"}


def test_the_config_selects_and_nothing_else_is_imported(tmp_path: Path) -> None:
    assert imported(CONFIG, tmp_path) == {
        "outline_lb_cipher_aead",
        "outline_lb_frontend_socks5",
        "outline_lb_policy_fastest",
        "outline_lb_probe_handshake",
        "outline_lb_transport_ws_h1",
    }


def test_without_probes_the_probe_is_not_imported(tmp_path: Path) -> None:
    config = CONFIG + "pools: {main: {probes: []}}\n"
    assert "outline_lb_probe_handshake" not in imported(config, tmp_path)


def test_plugins_of_the_command_line_are_imported_too(tmp_path: Path) -> None:
    assert "outline_lb_transport_direct" in imported(CONFIG, tmp_path, "ws-h1", "policy-fastest", "direct")


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["run", "--help"]])
def test_help_and_version_import_no_plugin(command: list[str]) -> None:
    output = subprocess.run([sys.executable, "-c", HELP_SCRIPT, *command], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert output.splitlines()[-1] == "[]"
