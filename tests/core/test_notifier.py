from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from outline_lb.base.flow import Network
from outline_lb.plugin.discovery import InstalledPlugin
from outline_lb.plugin.notifier import MAX_FAILURES, MAX_SECONDS, Implementation, Notifier

FLOW: Any = object()
OWNER = InstalledPlugin("observer", "owl", "owl_plugin", "zoo", "1.0")
HOOKS = ["outline_lb_flow_opened", "outline_lb_flow_closed", "outline_lb_health_changed", "outline_lb_config_reloaded"]


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
    owners = [InstalledPlugin("observer", f"owl{index}", f"owl{index}_plugin", "zoo", "1.0") for index in range(len(listeners))]
    return Notifier([Implementation(owner, hook, listener, wanted) for owner, listener in zip(owners, listeners, strict=True)])


def notify(notifier: Notifier, hook: str) -> None:
    if hook == "outline_lb_flow_opened":
        notifier.flow_opened(FLOW, "server")
    elif hook == "outline_lb_flow_closed":
        notifier.flow_closed(FLOW, "server", 10, 20, None)
    elif hook == "outline_lb_health_changed":
        notifier.health_changed("server", Network.TCP, False, "silent")
    else:
        notifier.config_reloaded(["/upstreams/server"])


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        (HOOKS[0], (FLOW, "server")),
        (HOOKS[1], (FLOW, "server", 10, 20, None)),
        (HOOKS[2], ("server", Network.TCP, False, "silent")),
        (HOOKS[3], (["/upstreams/server"],)),
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
    notifier = Notifier([Implementation(OWNER, HOOKS[1], last, (4, 2)), Implementation(OWNER, HOOKS[1], none, ())])
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
    assert {(line["plugin"], line["hook"], line["error"]) for line in lines} == {("observer-owl0 (zoo 1.0)", HOOKS[0], "ValueError: odd")}
    assert [line["event"] for line in lines[-2:]] == ["plugin failed", "plugin failed, and is not told any more"]


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
def test_a_plugin_ends_neither_the_program_nor_the_task_that_tells_it(error: BaseException) -> None:
    bad, good = Listener(error), Listener()
    with structlog.testing.capture_logs() as lines:
        notify(listening(HOOKS[0], bad, good), HOOKS[0])
    assert good.heard
    assert [line["error"].partition(":")[0] for line in lines] == [type(error).__name__]


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_that_takes_long_is_reported_at_most_once_a_minute() -> None:
    clock = Clock()

    def dawdle(seconds: float) -> None:
        clock.now += seconds

    implementation = Implementation(OWNER, HOOKS[3], dawdle, [0], clock)
    with structlog.testing.capture_logs() as lines:
        for seconds in (MAX_SECONDS * 0.9, 0.25, 30.0, 29.0, 0.06, 1.5):
            implementation(seconds)
    line = {"event": "plugin held everything up", "log_level": "warning", "plugin": "observer-owl (zoo 1.0)", "hook": HOOKS[3]}
    assert lines == [{**line, "took": "250.0ms", "times": 1}, {**line, "took": "1.50s", "times": 5}]
    assert implementation.failures == 0


def test_one_that_takes_long_and_then_fails_is_reported_for_both() -> None:
    clock = Clock()

    def dawdle(_changes: object) -> None:
        clock.now += 1
        raise ValueError("odd")

    with structlog.testing.capture_logs() as lines:
        Implementation(OWNER, HOOKS[3], dawdle, [0], clock)([])
    assert [line["event"] for line in lines] == ["plugin failed", "plugin held everything up"]


def test_ctrl_c_is_not_the_plugins_fault() -> None:
    with pytest.raises(KeyboardInterrupt):
        notify(listening(HOOKS[0], Listener(KeyboardInterrupt())), HOOKS[0])


def test_some_of_the_plugins_can_be_left_out_and_the_rest_stays_as_muted_as_it_was() -> None:
    one, two, bad = Listener(), Listener(), Listener(ValueError("odd"))
    everybody = listening(HOOKS[0], one, two, bad)
    for _ in range(MAX_FAILURES):
        notify(everybody, HOOKS[0])
    notify(everybody.only({"owl1_plugin", "owl2_plugin"}), HOOKS[0])
    assert [len(listener.heard) for listener in (one, two, bad)] == [MAX_FAILURES, MAX_FAILURES + 1, MAX_FAILURES]
