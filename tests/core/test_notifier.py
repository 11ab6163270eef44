from __future__ import annotations

from typing import Any

import pytest
import structlog

from outline_lb.base.flow import Network
from outline_lb.plugin.notifier import MAX_FAILURES, Implementation, Notifier

FLOW: Any = object()
HOOKS = ["outline_lb_flow_opened", "outline_lb_flow_closed", "outline_lb_health_changed"]


class Listener:
    """An implementation that keeps what it hears, and fails when told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.error = error

    def __call__(self, *arguments: Any) -> None:
        self.heard.append(arguments)
        if self.error:
            raise self.error


def listening(hook: str, *listeners: Listener, wanted: tuple[int, ...] = (0, 1)) -> Notifier:
    return Notifier([Implementation(f"zoo{index} 1.0", hook, listener, wanted) for index, listener in enumerate(listeners)])


def notify(notifier: Notifier, hook: str) -> None:
    if hook == "outline_lb_flow_opened":
        notifier.flow_opened(FLOW, "server")
    elif hook == "outline_lb_flow_closed":
        notifier.flow_closed(FLOW, "server", 10, 20, None)
    else:
        notifier.health_changed("server", Network.TCP, False, "silent")


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        (HOOKS[0], (FLOW, "server")),
        (HOOKS[1], (FLOW, "server", 10, 20, None)),
        (HOOKS[2], ("server", Network.TCP, False, "silent")),
    ],
)
def test_each_hook_reaches_those_that_implement_it(hook: str, arguments: tuple[Any, ...]) -> None:
    one, two = Listener(), Listener()
    notifier = listening(hook, one, two, wanted=tuple(range(len(arguments))))
    for other in HOOKS:
        notify(notifier, other)
    assert one.heard == two.heard == [arguments]


def test_an_implementation_gets_the_arguments_that_it_takes() -> None:
    last, none = Listener(), Listener()
    notifier = Notifier([Implementation("", HOOKS[1], last, (4, 2)), Implementation("", HOOKS[1], none, ())])
    notify(notifier, HOOKS[1])
    assert last.heard == [(None, 10)]
    assert none.heard == [()]


def test_without_listeners_nothing_happens() -> None:
    for hook in HOOKS:
        notify(Notifier(), hook)


def test_one_that_fails_harms_nobody_and_is_muted_in_the_end() -> None:
    bad, good = Listener(ValueError("odd")), Listener()
    notifier = listening(HOOKS[0], bad, good)
    with structlog.testing.capture_logs() as lines:
        for _ in range(MAX_FAILURES + 3):
            notify(notifier, HOOKS[0])
    assert len(bad.heard) == MAX_FAILURES
    assert len(good.heard) == MAX_FAILURES + 3
    assert [line["failures"] for line in lines] == list(range(1, MAX_FAILURES + 1))
    assert {(line["plugin"], line["hook"], line["error"]) for line in lines} == {("zoo0 1.0", HOOKS[0], "ValueError: odd")}
    assert [line["event"] for line in lines[-2:]] == ["plugin failed", "plugin failed, and is not told any more"]


def test_what_is_not_an_error_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        notify(listening(HOOKS[0], Listener(KeyboardInterrupt())), HOOKS[0])
