from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from menagerie import Menagerie, document, registration

from outline_lb.base.errors import ConfigError, PluginError
from outline_lb.base.secret import Secret
from outline_lb.config.components import MAX_SECRET, Components
from outline_lb.config.problems import Problems
from outline_lb.plugin.registration import ComponentSpec


class Reading:
    """Components of a document that is not needed, and what was found wrong with it."""

    def __init__(self) -> None:
        self.plugins = Menagerie()
        self._problems = Problems(document("a: 1"))
        self.components = Components(self.plugins, self._problems)

    def read(self, kind: str, node: Any) -> ComponentSpec[Any, Any]:
        spec = self.components.read(kind, node, "/at")
        assert self.problems == []
        assert spec is not None
        return spec

    @property
    def problems(self) -> list[str]:
        try:
            self._problems.raise_if_any()
        except ConfigError as error:
            return [f"{problem.pointer}: {problem.message}" for problem in error.problems]
        return []


@pytest.fixture
def reading() -> Reading:
    return Reading()


def test_a_name_is_short_for_a_mapping_with_a_type(reading: Reading) -> None:
    assert reading.read("policy", "fastest") == reading.read("policy", {"type": "fastest"})
    spec = reading.read("policy", {"type": "fastest", "sticky_ttl": "5s"})
    assert (spec.kind, spec.type, spec.options) == ("policy", "fastest", {"sticky_ttl": "5s"})


def test_what_is_nested_is_read_first(reading: Reading) -> None:
    node = {
        "type": "server",
        "listen": ["ws-h2", {"type": "ws-h1", "path": "/secret"}],
        "keys": {"ann": {"secret": "s"}, "bob": {"secret": "t", "cipher": "aes-256-gcm"}},
    }
    options = reading.read("frontend", node).options
    types = reading.plugins.types
    assert options == {
        "listen": [ComponentSpec("listener", types["listener"][1], {}), ComponentSpec("listener", types["listener"][0], {"path": Secret("/secret")})],
        "keys": {
            "ann": {"secret": Secret("s"), "cipher": ComponentSpec("cipher", types["cipher"][0], {})},
            "bob": {"secret": Secret("t"), "cipher": ComponentSpec("cipher", types["cipher"][1], {})},
        },
        "log_to": None,
    }


def test_problems_are_told_at_every_depth_at_once(reading: Reading) -> None:
    node = {"type": "server", "lisen": 1, "listen": ["dodo", {"type": "ws-h1", "path": 5}], "keys": {"ann": {"secret": {"env": "NO_SUCH_VARIABLE"}}}}
    assert reading.components.read("frontend", node, "/at") is None
    assert reading.problems == [
        "/at/lisen: unknown key lisen; did you mean listen?",
        "/at/listen/0: listener dodo is not installed",
        "/at/listen/1/path: expected a secret: text, {env: NAME} or {file: PATH}, found a number (put it in quotes)",
        "/at/keys/ann/secret/env: the environment variable of this name is not set, or empty",
    ]


@pytest.mark.parametrize(("node", "pointer"), [("dodo", "/at"), ({"type": "dodo"}, "/at/type")])
def test_a_type_that_is_not_to_be_had(reading: Reading, node: Any, pointer: str) -> None:
    assert reading.components.read("policy", node, "/at") is None
    assert reading.problems == [f"{pointer}: policy dodo is not installed"]


@pytest.mark.parametrize(
    ("written", "found"),
    [("AES-256-GCM", "aes-256-gcm"), ("aes-256-gcm", "aes-256-gcm"), ("ROT13", "ROT13"), ({"type": "Aes-256-Gcm"}, "aes-256-gcm")],
)
def test_ciphers_may_be_written_in_capitals(reading: Reading, written: Any, found: str) -> None:
    assert reading.read("cipher", written).type == found


def test_an_unknown_cipher_in_capitals_is_one_problem(reading: Reading) -> None:
    reading.components.read("cipher", "RC4-MD5", "/at")
    assert reading.problems == ["/at: cipher rc4-md5 is not installed"]


def test_other_kinds_are_taken_as_they_are_written(reading: Reading) -> None:
    reading.components.read("policy", "Fastest", "/at")
    assert reading.problems == ["/at: policy Fastest is not installed"]


def test_what_the_options_refuse_is_a_problem_of_the_node(reading: Reading) -> None:
    assert reading.components.read("frontend", {"type": "picky", "number": 13}, "/at") is None
    assert reading.problems == ["/at: number: 13 brings bad luck"]


def test_a_parser_that_fails_otherwise_is_broken(reading: Reading) -> None:
    with pytest.raises(PluginError, match=r"^frontend picky: it cannot parse its options: ZeroDivisionError: division by zero$"):
        reading.components.read("frontend", {"type": "picky", "number": 0}, "/at")


def test_a_schema_that_is_none_is_broken(reading: Reading) -> None:
    reading.plugins.types["policy"].append(registration("odd", {"a": {"type": "text"}}))
    with pytest.raises(PluginError, match=r"^policy odd: its schema is wrong"):
        reading.components.read("policy", "odd", "/at")


def test_a_secret_from_the_environment(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_SECRET", "hunter2 ")
    assert reading.components.secret({"env": "ZOO_SECRET"}, "/at") == Secret("hunter2 ")
    monkeypatch.setenv("ZOO_SECRET", "")
    assert reading.components.secret({"env": "ZOO_SECRET"}, "/at") is None
    assert reading.problems == ["/at/env: the environment variable of this name is not set, or empty"]


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), (b" a\nb\n\n", " a\nb\n"), ("ä".encode(), "ä")],
)
def test_a_secret_from_a_file_without_its_last_line_break(reading: Reading, tmp_path: Path, content: bytes, secret: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert reading.components.secret({"file": str(tmp_path / "secret")}, "/at") == Secret(secret)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"\n", "the file is empty"),
        (b"\xff", "the file is not UTF-8 text"),
        (b"x" * (MAX_SECRET + 1), "the file is longer than 64 KiB"),
    ],
)
def test_a_file_that_holds_no_secret(reading: Reading, tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    assert reading.components.secret({"file": str(tmp_path / "secret")}, "/at") is None
    assert reading.problems == [f"/at/file: {why}"]


def test_a_home_directory_that_does_not_exist(reading: Reading) -> None:
    assert reading.components.secret({"file": "~no_such_user/secret"}, "/at") is None
    assert reading.problems[0].startswith("/at/file: the file cannot be read")
