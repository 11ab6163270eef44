from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from outline_lb import logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


def test_lines_are_json_where_nobody_looks() -> None:
    output = io.StringIO()
    logs.configure("info", "auto", output)
    structlog.get_logger("net").info("listening", address="127.0.0.1:1080", nothing=None)
    line = json.loads(output.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "listening", "level": "info", "logger": "net", "address": "127.0.0.1:1080"}


def test_a_terminal_gets_colours_and_a_file_that_wants_columns_does_not() -> None:
    for output, colours in ((Terminal(), True), (io.StringIO(), False)):
        logs.configure("info", "auto" if colours else "console", output)
        structlog.get_logger("net").info("listening", address="127.0.0.1:1080")
        assert ("\x1b[" in output.getvalue()) is colours
        assert "listening" in output.getvalue()
        assert "net" in output.getvalue()


def test_less_important_lines_are_left_out() -> None:
    output = io.StringIO()
    logs.configure("warning", "json", output)
    log = structlog.get_logger("net")
    log.info("not this one")
    log.warning("this one")
    assert [json.loads(line)["event"] for line in output.getvalue().splitlines()] == ["this one"]


def test_loggers_made_before_follow() -> None:
    log = structlog.get_logger("early")
    output = io.StringIO()
    logs.configure("debug", "json", output)
    log.debug("hello")
    assert json.loads(output.getvalue())["logger"] == "early"


def test_a_traceback_is_part_of_the_line() -> None:
    output = io.StringIO()
    logs.configure("info", "json", output)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        structlog.get_logger("net").exception("failed")
    assert "RuntimeError: boom" in json.loads(output.getvalue())["exception"]


def test_an_output_that_takes_nothing_stops_nobody() -> None:
    logs.configure("info", "json", FullDisk())
    structlog.get_logger("net").info("lost")
    closed = io.StringIO()
    closed.close()
    logs.configure("info", "json", closed)
    structlog.get_logger("net").info("lost too")
