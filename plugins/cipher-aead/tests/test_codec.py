from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
import structlog

from outline_lb.api import Opener, Sealer, StartError
from outline_lb_cipher_aead import codec as codec_module
from outline_lb_cipher_aead.codec import GROUP, Codec, PythonCodec, find, installed

CHACHA, AES = "chacha20-ietf-poly1305", "aes-256-gcm"


class Fast(Codec):
    methods = frozenset({CHACHA})

    def sealer(self, method: str, master: bytes, salt: bytes, header: bytes = b"") -> Sealer:
        raise NotImplementedError

    def opener(self, method: str, master: bytes) -> Opener:
        raise NotImplementedError


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """What is installed besides the codec in Python: put entry points of the module ``fast_codec`` here."""
    found: list[EntryPoint] = []
    module = ModuleType("fast_codec")
    module.FAST = Fast()  # type: ignore[attr-defined]
    module.NONE = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fast_codec", module)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry for entry in found if entry.group == group])
    forget()
    yield found
    monkeypatch.undo()
    forget()


def forget() -> None:
    codec_module._entries.cache_clear()
    find.cache_clear()


def entry(name: str, value: str = "fast_codec:FAST") -> EntryPoint:
    return EntryPoint(name, value, GROUP)


@pytest.mark.usefixtures("entries")
def test_python_is_always_there() -> None:
    assert installed() == ["python"]
    assert isinstance(find("auto", CHACHA), PythonCodec)


def test_what_is_installed_is_used(entries: list[EntryPoint]) -> None:
    entries += [entry("zippy"), entry("fast")]
    assert installed() == ["python", "fast", "zippy"]
    assert isinstance(find("auto", CHACHA), Fast)
    assert isinstance(find("zippy", CHACHA), Fast)


def test_python_can_be_asked_for_and_nothing_else_is_imported_then(entries: list[EntryPoint]) -> None:
    entries.append(entry("fast", "no_such_module:FAST"))
    assert isinstance(find("python", CHACHA), PythonCodec)


@pytest.mark.parametrize("name", ["python", "auto"])
def test_nobody_takes_the_names_of_the_house(entries: list[EntryPoint], name: str) -> None:
    entries.append(entry(name))
    assert installed() == ["python"]
    assert isinstance(find(name, CHACHA), PythonCodec)


BROKEN = [
    (entry("fast", "no_such_module:FAST"), CHACHA, "the codec fast cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    (
        entry("fast", "fast_codec:MISSING"),
        CHACHA,
        "the codec fast cannot be imported: AttributeError: module 'fast_codec' has no attribute 'MISSING'",
    ),
    (entry("fast", "fast_codec:NONE"), CHACHA, "the codec fast is none: fast_codec:NONE is no Codec"),
    (entry("fast"), AES, "the codec fast cannot do aes-256-gcm: it can do chacha20-ietf-poly1305"),
]


@pytest.mark.parametrize(("broken", "method", "message"), BROKEN)
def test_a_codec_that_was_asked_for_must_work(entries: list[EntryPoint], broken: EntryPoint, method: str, message: str) -> None:
    entries.append(broken)
    with pytest.raises(StartError) as caught:
        find("fast", method)
    assert str(caught.value) == message


@pytest.mark.parametrize(("broken", "method", "message"), BROKEN)
def test_one_that_does_not_work_is_passed_over_with_a_warning(entries: list[EntryPoint], broken: EntryPoint, method: str, message: str) -> None:
    entries.append(broken)
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            assert isinstance(find("auto", method), PythonCodec)
    assert [(line["log_level"], line["event"], str(line["error"])) for line in lines] == [("warning", "codec not used", message)]
