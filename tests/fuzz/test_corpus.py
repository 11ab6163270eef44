"""Every input of the corpus, and variations of it, through each fuzz target."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.targets import TARGETS, corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOST_MEMORY = 24 * 1024 * 1024
"""Bytes that one input of a few kilobytes may take, all its splits and the comparison included."""

each_target = pytest.mark.parametrize("name", TARGETS)


@st.composite
def variations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Damage an input here and there, or put pieces of two together."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        where = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 20))
        match draw(st.integers(0, 4)):
            case 0:
                data = data[:where] + draw(st.binary(max_size=8)) + data[where + size :]
            case 1:
                data = data[:where]
            case 2:
                data = data[:where] + data[where : where + size] * draw(st.integers(0, 30)) + data[where + size :]
            case 3:
                data = data[:where] + draw(st.sampled_from(seeds))[-size:]
            case _:
                data = data[:where] + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[where : where + 1]) + data[where + 1 :]
    return data


@pytest.mark.parametrize("file", [file for name in TARGETS for file in corpus(name)], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_an_input_of_the_corpus_passes(file: Path) -> None:
    TARGETS[file.parent.name].check(file.read_bytes())


@each_target
def test_an_input_of_the_corpus_takes_little_memory(name: str) -> None:
    check = TARGETS[name].check
    check(b"")  # what is made once, is made now
    tracemalloc.start()
    try:
        for file in corpus(name):
            data = file.read_bytes()
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            check(data)
            taken = tracemalloc.get_traced_memory()[1] - before
            assert taken < MOST_MEMORY, f"{file.name} takes {taken} bytes"
    finally:
        tracemalloc.stop()


@each_target
def test_variations_of_the_corpus_pass(name: str) -> None:
    target = TARGETS[name]
    seeds = [file.read_bytes() for file in corpus(name)]

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(variations(seeds))
    def check(data: bytes) -> None:
        target.check(data[: target.max_size])

    run: Callable[[], None] = check
    run()
