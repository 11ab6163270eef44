from __future__ import annotations

from pathlib import Path

import pytest

from outline_lb.base.errors import ConfigError, Problem
from outline_lb.config.source import MAX_SIZE, join, parse_document, read_document

TEXT = """\
version: 1
upstreams:
  a: &a {tcp: x, list: [1, {b/c~d: 2}]}
  b: *a
"""


def problem(raw: bytes) -> Problem:
    with pytest.raises(ConfigError) as raised:
        parse_document(raw, "conf.yaml")
    (found,) = raised.value.problems
    return found


def test_every_node_has_its_place() -> None:
    document = parse_document(TEXT.encode())
    assert document.data["upstreams"]["b"] == {"tcp": "x", "list": [1, {"b/c~d": 2}]}
    assert {pointer: place for pointer, place in document.places.items() if not pointer.startswith("/upstreams/b/")} == {
        "": (1, 1),
        "/version": (1, 1),
        "/upstreams": (2, 1),
        "/upstreams/a": (3, 3),
        "/upstreams/a/tcp": (3, 10),
        "/upstreams/a/list": (3, 18),
        "/upstreams/a/list/0": (3, 25),
        "/upstreams/a/list/1": (3, 28),
        "/upstreams/a/list/1/b~1c~0d": (3, 29),
        "/upstreams/b": (4, 3),
    }


def test_what_stands_behind_an_alias_is_not_shared() -> None:
    upstreams = parse_document(TEXT.encode()).data["upstreams"]
    upstreams["a"]["list"].clear()
    assert upstreams["b"]["list"]


def test_what_was_not_written_has_the_place_of_what_is_around_it() -> None:
    document = parse_document(TEXT.encode(), "conf.yaml")
    assert document.problem("/upstreams/a/via/source", "wrong") == Problem("wrong", "/upstreams/a/via/source", "conf.yaml", 3, 3)
    assert document.place("/pools/main") == (1, 1)


def test_join_escapes_as_rfc_6901_says() -> None:
    assert join("/a", "b/c", 0, "~d") == "/a/b~1c/0/~0d"


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\r\nx: \xc3\xa4")
    document = read_document(file)
    assert (document.data, document.file) == ({"version": 1, "x": "ä"}, str(file))


@pytest.mark.parametrize(("name", "why"), [("missing.yaml", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_document(tmp_path / name)
    assert str(raised.value) == f"{tmp_path / name}: cannot be read: {why}"


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(50 * 1024**3)
    with pytest.raises(ConfigError, match=r"conf\.yaml: more than 512 KiB: this is no configuration"):
        read_document(file)


def test_the_limit_is_exact() -> None:
    text = b"a: 1 #".ljust(MAX_SIZE, b".")
    assert parse_document(text).data == {"a": 1}
    assert "more than" in problem(text + b".").message


@pytest.mark.parametrize(
    ("raw", "place", "message"),
    [
        (b"a: 1\nb: \xff", (2, 4), "this is not UTF-8 text"),
        ("a: ä".encode("latin-1"), (1, 4), "this is not UTF-8 text"),
        ("a: 1".encode("utf-16"), (1, 1), "this is not UTF-8 text"),
        (b"a: 1\r\nb: \0", (2, 4), "a NUL byte does not belong into a text file"),
        (b"a: 1\rb: \x1b[31m", (2, 4), "the control character U+001B does not belong into a text file"),
        ("a: \ufffe".encode(), (1, 4), "the control character U+FFFE does not belong into a text file"),
        (b"a: [", (1, 5), "a value is expected here"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(raw: bytes, place: tuple[int, int], message: str) -> None:
    found = problem(raw)
    assert found == Problem(message, "", "conf.yaml", *place)
