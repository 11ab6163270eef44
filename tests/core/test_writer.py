from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outline_lb.logs.writer import LIMIT, Writer


class Output:
    """What a writer writes to: takes everything, or does what `trouble` says."""

    def __init__(self) -> None:
        self.taken = b""
        self.trouble: Callable[[memoryview], int] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Semaphore(0)

    def write(self, data: memoryview) -> int:
        self.asked.release()
        self.gate.wait(10)
        size = self.trouble(data) if self.trouble else len(data)
        self.taken += data[:size]
        return size


@pytest.fixture
def output() -> Iterator[Output]:
    output = Output()
    yield output
    output.gate.set()


def lost(count: int) -> bytes:
    return b"%d lost\n" % count


def full(_data: memoryview) -> int:
    raise OSError(28, "No space left on device")


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_lines_are_written_in_order_and_at_the_end_all_of_them(output: Output) -> None:
    writer = Writer(output.write, lost)
    for number in range(1000):
        writer.put(b"%d\n" % number)
    writer.close(5)
    assert output.taken.split() == [b"%d" % number for number in range(1000)]


def test_short_writes_are_gone_on_with(output: Output) -> None:
    output.trouble = lambda data: min(len(data), 3)
    writer = Writer(output.write, lost)
    writer.put(b"one long line\n")
    writer.close(5)
    assert output.taken == b"one long line\n"


def test_what_a_full_disk_lost_is_counted_and_told_when_it_has_room_again(output: Output) -> None:
    output.trouble = full
    writer = Writer(output.write, lost)
    for number in range(3):
        writer.put(b"%d\n" % number)
    wait_until(lambda: writer._lost == 3)
    output.trouble = None
    writer.put(b"again\n")
    wait_until(lambda: output.taken.endswith(b"again\n"))
    assert output.taken == b"3 lost\nagain\n"
    writer.put(b"more\n")
    writer.close(5)
    assert output.taken == b"3 lost\nagain\nmore\n"


def test_a_line_that_was_cut_does_not_spoil_the_next_one(output: Output) -> None:
    def nearly_full(data: memoryview) -> int:
        output.trouble = full
        return 4

    output.trouble = nearly_full
    writer = Writer(output.write, lost)
    writer.put(b"a line\n")
    wait_until(lambda: writer._lost == 1)
    output.trouble = None
    writer.put(b"next\n")
    writer.close(5)
    assert output.taken == b"a li\n1 lost\nnext\n"


def test_who_writes_to_an_output_that_hangs_does_not_wait_and_memory_is_bounded(output: Output) -> None:
    output.gate.clear()
    writer = Writer(output.write, lost)
    line = b"x" * 1023 + b"\n"
    began = time.monotonic()
    for _ in range(3 * LIMIT // len(line)):
        writer.put(line)
    assert time.monotonic() - began < 2
    assert writer._waiting <= LIMIT
    assert writer._lost == 2 * LIMIT // len(line)
    began = time.monotonic()
    writer.close(0.1)
    assert time.monotonic() - began < 2
    output.gate.set()
    writer._thread.join(5)
    assert output.taken.count(b"%d lost\n" % (2 * LIMIT // len(line))) == 1
    assert output.taken.count(line) == LIMIT // len(line)


def test_a_non_blocking_output_is_waited_for(output: Output) -> None:
    def busy(_data: memoryview) -> int:
        output.trouble = None
        raise BlockingIOError(11, "again")

    output.trouble = busy
    writer = Writer(output.write, lost)
    writer.put(b"line\n")
    writer.close(5)
    assert output.taken == b"line\n"


def test_a_closed_pipe_and_dev_full_are_survived() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for descriptor in (writing, os.open("/dev/full", os.O_WRONLY)):
        writer = Writer(lambda data, descriptor=descriptor: os.write(descriptor, data), lost)  # type: ignore[misc]
        for _ in range(10):
            writer.put(b"line\n")
        writer.close(5)
        assert writer._lost == 10
        os.close(descriptor)


def test_after_the_end_lines_are_only_counted(tmp_path: Path, output: Output) -> None:
    writer = Writer(output.write, lost)
    writer.close(5)
    writer.put(b"late\n")
    assert (output.taken, writer._lost) == (b"", 1)
