from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

import outline_lb.datapath.balancer  # noqa: F401 - one of the rooms
from outline_lb.base.address import Address
from outline_lb.base.secret import SecretUrl
from outline_lb.logs import Journal, Levels
from outline_lb.logs.repeats import SHOWN


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    assert not structlog.is_configured()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


def lines(output: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_lines_are_json_where_nobody_looks() -> None:
    output = io.StringIO()
    with Journal(output) as journal:
        journal.configure(Levels(), "auto")
        structlog.get_logger("net").info("listening", address="127.0.0.1:1080", nothing=None)
    [line] = lines(output)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "listening", "level": "info", "logger": "net", "address": "127.0.0.1:1080"}


def test_a_terminal_gets_colours_and_a_file_that_wants_columns_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for output, form, colours in ((Terminal(), "auto", True), (io.StringIO(), "console", False)):
        with Journal(output) as journal:
            journal.configure(Levels(), form)
            structlog.get_logger("net").info("listening", address="127.0.0.1:1080")
        assert ("\x1b[" in output.getvalue()) is colours
        assert "listening" in output.getvalue()
        assert "net" in output.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_declined(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    output = Terminal()
    with Journal(output) as journal:
        journal.configure(Levels(), "auto")
        structlog.get_logger("net").info("listening")
    assert "\x1b" not in output.getvalue()


def test_each_room_has_its_level() -> None:
    output = io.StringIO()
    with Journal(output) as journal:
        journal.configure(Levels("warning", {"attic": "debug", "cellar": "error"}), "json")
        for room in ("attic", "kitchen", "cellar"):
            for level in ("debug", "warning", "error"):
                getattr(structlog.get_logger(room), level)(level)
    shown = [(line["logger"], line["event"]) for line in lines(output) if line["logger"] != "app"]
    assert shown == [("attic", "debug"), ("attic", "warning"), ("attic", "error"), ("kitchen", "warning"), ("kitchen", "error"), ("cellar", "error")]


def test_unknown_rooms_are_told() -> None:
    output = io.StringIO()
    with Journal(output) as journal:
        journal.configure(Levels("info", {"balncer": "debug", "balancer": "debug"}), "json")
    [line] = lines(output)
    assert (line["event"], line["level"], line["room"]) == ("log level of an unknown room", "warning", "balncer")
    assert "balancer" in line["known"]


def test_loggers_made_before_follow_each_change() -> None:
    log = structlog.get_logger("early")
    output = io.StringIO()
    with Journal(output) as journal:
        journal.configure(Levels("debug"), "json")
        log.debug("one")
        journal.configure(Levels("info"), "json")
        log.debug("two")
        journal.configure(Levels("debug"), "console")
        log.debug("three")
    first, second = output.getvalue().splitlines()
    assert json.loads(first)["event"] == "one"
    assert "three" in second
    assert not second.startswith("{")


def test_a_traceback_is_part_of_the_line() -> None:
    output = io.StringIO()
    with Journal(output) as journal:
        journal.configure(Levels(), "json")
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            structlog.get_logger("net").exception("failed")
    [line] = lines(output)
    assert "RuntimeError: boom" in line["exception"]


def test_values_may_be_anything() -> None:
    output = io.StringIO()
    fields: dict[str, Any] = {
        "server": SecretUrl("wss://example.com/SECRET_PATH"),
        "addresses": (Address("::1", 80),),
        "error": ConnectionResetError(104, "whatever the loop puts here"),
        "more": {"a": object},
        "broken": "\udc80",
    }
    with Journal(output) as journal:
        journal.configure(Levels(), "json")
        structlog.get_logger("net").bind(flow=7).info("hello", **fields)
        journal.configure(Levels(), "console")
        structlog.get_logger("net").info("hello", **fields)
    line = json.loads(output.getvalue().splitlines()[0])
    assert (line["flow"], line["server"], line["addresses"]) == (7, "wss://example.com:443/***", ["[::1]:80"])
    assert line["error"] == "Connection reset by peer"
    assert "SECRET" not in output.getvalue()


def test_what_is_said_again_and_again_is_summed_up() -> None:
    output = io.StringIO()
    with Journal(output) as journal:
        journal.configure(Levels(), "json")
        for flow in range(SHOWN + 5):
            structlog.get_logger("datapath").info("flow failed", flow=flow)
    assert [line.get("repeated") for line in lines(output)] == [None] * SHOWN + [5]


@pytest.mark.fake_clock
async def test_a_sum_comes_by_itself() -> None:
    output = io.StringIO()
    with Journal(output) as journal:
        journal.configure(Levels(), "json")
        for flow in range(SHOWN + 5):
            structlog.get_logger("datapath").info("flow failed", flow=flow)
        await asyncio.sleep(31)
        journal._repeats.end_all()
        structlog.get_logger("datapath").info("afterwards")
    assert [line.get("repeated") for line in lines(output)] == [None] * SHOWN + [5, None]


def test_an_output_that_takes_nothing_stops_nobody() -> None:
    closed = io.StringIO()
    for output in (FullDisk(), closed, None):
        with Journal(output) as journal:
            if output is closed:
                closed.close()
            journal.configure(Levels(), "json")
            structlog.get_logger("net").info("lost")
