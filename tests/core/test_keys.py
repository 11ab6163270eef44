from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from outline_lb.cli import main

SERVER = """\
version: 1
frontends:
  local: {type: socks5, listen: "127.0.0.1:1080"}
  server:
    type: outline-server
    listen:
      - {type: tcp, address: "0.0.0.0:8388"}
      - {type: ws-h1, address: "127.0.0.1:8080", path: /SECRET_PATH/tcp, packet_path: /SECRET_PATH/udp}
    keys: {ann: {secret: Secret0}, bob: {secret: Secret1, cipher: aes-256-gcm}}
upstreams: {internet: {transport: direct}}
"""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Write the configuration of a server."""
    file = tmp_path / "server.yaml"
    file.write_text(SERVER)
    return file


def keys(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> list[str]:
    assert main(["keys", "-c", str(file), "--host", "server.example", *arguments]) == 0
    output = capsys.readouterr()
    assert output.err == "", "secrets go to standard output and nowhere else"
    return output.out.splitlines()


def test_each_user_of_each_listener_has_a_key(server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = keys(capsys, server)
    assert [line for line in lines if line.startswith("# ") and " at " in line] == [
        "# ann at tcp://server.example:8388/, of the frontend server",
        "# bob at tcp://server.example:8388/, of the frontend server",
        "# ann at ws://server.example:8080/***, of the frontend server",
        "# bob at ws://server.example:8080/***, of the frontend server",
    ]
    assert lines[1] == "ss://Y2hhY2hhMjAtaWV0Zi1wb2x5MTMwNTpTZWNyZXQw@server.example:8388#ann"
    assert '    endpoint: {$type: websocket, url: "ws://server.example:8080/SECRET_PATH/tcp"}' in lines
    assert '    endpoint: {$type: websocket, url: "ws://server.example:8080/SECRET_PATH/udp"}' in lines


def test_upstream_line_says_where_packets_go(server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = keys(capsys, server, "--user", "ann", "--tls-port", "443")
    entries = [YAML(typ="safe").load(line.removeprefix("#"))["server"] for line in lines if line.startswith("#   ")]
    assert [(entry["tcp"], entry["udp"]) for entry in entries] == [
        ("tcp://server.example:8388", "udp://server.example:8388"),
        ("wss://server.example/SECRET_PATH/tcp", "wss://server.example/SECRET_PATH/udp"),
    ]


def test_keys_of_one_user(server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(keys(capsys, server, "--user", "bob"))
    assert "Secret1" in text
    assert "Secret0" not in text
    assert "ann" not in text


def test_tls_of_a_web_server_in_front_changes_websocket_keys_only(server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(keys(capsys, server, "--user", "ann", "--tls-port", "443"))
    assert '"wss://server.example/SECRET_PATH/tcp"' in text
    assert "server.example:8388#ann" in text
    assert "ws://" not in text


def test_nobody_to_print_a_key_of_is_told(server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "-c", str(server), "--host", "server.example", "--user", "eve"]) == 2
    assert "there are no keys of a user eve" in capsys.readouterr().err


def test_port_that_nobody_knows_is_told(server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.write_text(SERVER.replace(":8388", ":0"))
    assert main(["keys", "-c", str(server), "--host", "server.example"]) == 2
    assert "/frontends/server/listen: listens on any free port" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--host", "no host"], ["--host", "server.example", "--tls-port", "70000"]])
def test_wrong_command_line_is_told(arguments: list[str], server: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", "-c", str(server), *arguments])
    assert ended.value.code == 2
