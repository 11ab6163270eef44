from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket import masking


def load_without_speedups() -> ModuleType:
    assert masking.__file__
    spec = importlib.util.spec_from_file_location("masking_without_speedups", masking.__file__)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "websockets.speedups", None)
        spec.loader.exec_module(module)
    return module


SLOW = load_without_speedups()


def test_falls_back_where_nothing_was_compiled() -> None:
    assert SLOW.apply_mask is not masking.apply_mask
    assert SLOW.apply_mask.__module__ == "websockets.utils"


@pytest.mark.parametrize("module", [masking, SLOW])
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), mask=st.binary(min_size=4, max_size=4), start=st.integers(0, 7))
def test_masks_any_slice(module: ModuleType, data: bytes, mask: bytes, start: int) -> None:
    expected = bytes(byte ^ mask[index & 3] for index, byte in enumerate(data[start:]))
    assert module.apply_mask(memoryview(bytearray(data))[start:], mask) == expected
