"""Registers each method under each of its names."""

from __future__ import annotations

from functools import partial
from typing import Final

from outline_lb.api import Cipher, Registration, hookimpl

from .cipher import AeadCipher
from .method import METHODS, Method
from .options import SCHEMA, Options

OUTLINE_LB_API: Final = 1


def _build(method: Method, options: Options, _deps: None) -> AeadCipher:
    return AeadCipher(method, options)


@hookimpl
def outline_lb_ciphers() -> list[Registration[Options, None, Cipher]]:
    """Contribute the AEAD ciphers."""
    return [Registration(type=name, schema=SCHEMA, parse=Options.parse, build=partial(_build, method)) for name, method in METHODS.items()]
