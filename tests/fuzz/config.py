"""A whole configuration, from the bytes of its file to settings: YAML, schemas, plugins' options."""

from __future__ import annotations

from fuzz.harness import Target, refusal

from outline_lb.base.errors import ConfigError
from outline_lb.config.build import build_settings
from outline_lb.config.problems import MAX_TOLD
from outline_lb.config.settings import Settings
from outline_lb.config.source import parse_document
from outline_lb.plugin.loader import PluginLoader

LINE_ENDS = (b"\n", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")

_plugins = PluginLoader()


def config(data: bytes) -> None:
    """Read a configuration: there are settings, or a list of problems, each a line with its place."""
    _plugins.start_over()
    try:
        settings = build_settings(parse_document(data, "file"), _plugins)
    except ConfigError as error:
        check_problems(error, data)
        return
    assert isinstance(settings, Settings)
    assert settings.upstreams


def check_problems(error: ConfigError, data: bytes) -> None:
    """See that each problem is one line, and stands where there is one."""
    lines = 1 + sum(data.count(end) for end in LINE_ENDS)
    assert 0 < len(error.problems) <= MAX_TOLD + 1
    for problem in error.problems:
        refusal(ValueError(str(problem)[:900]))
        assert 0 <= problem.line <= lines


TARGETS = [Target("config", config, 8192)]
