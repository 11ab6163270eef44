from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from outline_lb.logs.levels import Levels
from outline_lb.logs.python import Forwarder


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    forwarder = Forwarder()
    forwarder.attach()
    forwarder.configure(Levels("info"))
    with capture_logs() as found:
        yield found
    forwarder.detach()


def test_a_warning_is_a_line(lines: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # within the context, which puts its own in place
        warnings.warn("soon gone", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    [line] = lines
    assert line["event"].endswith("DeprecationWarning: soon gone")
    assert (line["log_level"], line["source"]) == ("warning", "py.warnings")


def test_a_task_whose_exception_nobody_retrieved_is_a_line(lines: list[Any]) -> None:
    async def fail() -> None:
        raise ValueError("nobody looked")

    async def leave_alone() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(leave_alone())
    [line] = lines
    assert line["event"] == "Task exception was never retrieved"
    assert (line["log_level"], line["source"]) == ("error", "asyncio")
    assert line["details"].startswith("future: <Task")
    assert isinstance(line["exc_info"][1], ValueError)


def test_records_keep_their_level_and_small_talk_is_left_out(lines: list[Any]) -> None:
    log = logging.getLogger("library")
    log.info("small talk")
    log.warning("take %s", "care")
    log.critical("worse")
    assert [(line["log_level"], line["event"]) for line in lines] == [("warning", "take care"), ("error", "worse")]


def test_all_is_as_before_in_the_end() -> None:
    before = list(logging.getLogger().handlers), logging.getLogger().level, warnings.showwarning
    forwarder = Forwarder()
    forwarder.attach()
    forwarder.configure(Levels("debug"))
    forwarder.detach()
    assert (list(logging.getLogger().handlers), logging.getLogger().level, warnings.showwarning) == before


def test_a_record_that_makes_no_sense_harms_nobody(lines: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("library").warning("%d", "no number")
    structlog.get_logger("net").info("goes on")
    assert [line["event"] for line in lines] == ["goes on"]
