"""The process that fuzzes one target: ``python -m fuzz.one TARGET SECONDS``, with atheris on the path. See run.py."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

PARSERS = ["outline_lb", "outline_lb_websocket", "outline_lb_cipher_aead", "outline_lb_frontend_socks5", "outline_lb_transport_ws_h1", "ruamel"]
"""What is instrumented, so that an input that reaches something new is known by that."""
SECONDS_FOR_ONE = 20
MEGABYTES = 1024


def write_words(files: list[Path]) -> str:
    """Write the words that stand in the corpus to a file that libFuzzer reads: it would take ages to find them letter by letter."""
    words = sorted({word.decode() for file in files for word in re.findall(rb"[A-Za-z][\w-]{2,30}", file.read_bytes())})
    Path("words").write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")
    return "words"


def main() -> None:
    """Fuzz, and never return: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    name, seconds = sys.argv[1:]
    with atheris.instrument_imports(include=PARSERS):
        from fuzz.targets import CORPUS, TARGETS, corpus

        target = TARGETS[name]
        for file in corpus(name):  # loads what is loaded late
            target.check(file.read_bytes())
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.max_size}",
        f"-timeout={SECONDS_FOR_ONE}",
        f"-rss_limit_mb={MEGABYTES}",
        "-print_final_stats=1",
        "-len_control=0",
        f"-artifact_prefix={Path.cwd()}/",
        f"-dict={write_words(corpus(name))}",
    ]
    atheris.Setup([sys.argv[0], *options, "corpus", str(CORPUS / name)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
