from __future__ import annotations

import pytest
from menagerie import Menagerie, document

from outline_lb.base.errors import ConfigError, PluginError
from outline_lb.base.secret import SecretUrl
from outline_lb.config.choices import Choices
from outline_lb.config.components import Components
from outline_lb.config.problems import Problems


class Case:
    """Choices of some names, and what was found wrong."""

    def __init__(self, *names: str, written: tuple[str, ...] = ()) -> None:
        plugins = Menagerie()
        self._problems = Problems(document("a: 1"))
        self.components = Components(plugins, self._problems)
        self.choices = Choices(plugins, names, written, self._problems)

    def transport(self, url: str | None) -> str | None:
        return self.choices.transport(SecretUrl(url) if url else None, self.components, "/upstreams/a")

    @property
    def problems(self) -> str:
        try:
            self._problems.raise_if_any()
        except ConfigError as error:
            return "\n".join(f"{problem.pointer}: {problem.message}" for problem in error.problems)
        return ""


def test_what_nobody_named_is_the_usual() -> None:
    case = Case()
    assert case.choices.policy("/at") == "fastest"
    assert case.choices.probes() == ["handshake"]


def test_what_was_named_is_taken() -> None:
    case = Case("zebra", "ping", "owl")
    assert (case.choices.policy("/at"), case.choices.probes()) == ("zebra", ["ping"])


def test_the_command_line_goes_before_the_document_kind_by_kind() -> None:
    case = Case("zebra", written=("heron", "ping"))
    assert (case.choices.policy("/at"), case.choices.probes()) == ("zebra", ["ping"])


def test_a_name_may_be_given_twice() -> None:
    assert Case("zebra", "zebra").choices.policy("/at") == "zebra"


def test_several_that_fit_are_a_question() -> None:
    case = Case(written=("zebra", "heron"))
    assert case.choices.policy("/pools/main/policy") is None
    assert case.problems == "/pools/main/policy: several that fit were named as plugins (zebra, heron): say here which policy to take"


@pytest.mark.parametrize(
    ("url", "transport"),
    [("ws://x", "ws-h1"), ("wss://x", "ws-h1"), ("tcp://x:1", "tcp"), ("udp://x:1", "tcp"), (None, "direct")],
)
def test_the_usual_transport_is_that_of_the_url(url: str | None, transport: str) -> None:
    assert Case().transport(url) == transport


@pytest.mark.parametrize(
    ("name", "url", "transport"),
    [
        ("ws-h2", "wss://x", "ws-h2"),
        ("ws-h2", "tcp://x:1", "tcp"),
        ("ws-h2", None, "direct"),
        ("bound", None, "bound"),
        ("bound", "wss://x", "ws-h1"),
    ],
)
def test_a_named_transport_is_taken_where_it_fits(name: str, url: str | None, transport: str) -> None:
    assert Case(name).transport(url) == transport


def test_a_url_that_nothing_takes() -> None:
    case = Case()
    assert case.transport("https://x") is None
    known = "ws://, wss://, tcp://, udp://"
    assert case.problems == f"/upstreams/a/tcp: no transport is known for https:// URLs: write one of {known}, or name a transport"


def test_the_problem_is_where_the_url_is() -> None:
    case = Case()
    assert case.choices.transport(SecretUrl("https://x"), case.components, "/upstreams/a", "udp") is None
    assert case.problems.startswith("/upstreams/a/udp: no transport is known for https:// URLs")


def test_a_name_of_the_document_that_is_not_to_be_had_is_a_problem() -> None:
    assert Case(written=("zebra", "dodo")).problems == "/plugins/1: plugin dodo is not installed"


def test_a_name_of_the_command_line_that_is_not_to_be_had_is_an_error() -> None:
    with pytest.raises(PluginError, match="plugin dodo is not installed"):
        Case("dodo")
