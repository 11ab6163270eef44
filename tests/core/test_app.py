from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import anyio
import pytest
from machinery import Machinery
from structlog.testing import capture_logs

from outline_lb.app import App, Origin
from outline_lb.base.errors import ConfigError, Problem, StartError
from outline_lb.config.settings import Settings
from outline_lb.plugin.discovery import InstalledPlugin
from outline_lb.plugin.notifier import Implementation, Notifier
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.streams import FakeStream

OBSERVER = InstalledPlugin("observer", "test", "test", "test", "1")

pytestmark = pytest.mark.fake_clock


@contextlib.asynccontextmanager
async def running(app: App) -> AsyncIterator[asyncio.Task[None]]:
    """Run an app, until the block is left or it ends by itself."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    serving = anyio.Event()
    task = asyncio.create_task(app.run(lambda _: serving.set()))
    await serving.wait()
    await settle()
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def advance(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    await loop.advance(seconds)


async def open_flow(machinery: Machinery) -> tuple[FakeStream, FakeStream]:
    client, far = FakeStream(), FakeStream()
    machinery.built.doors[-1].carry(client)
    await settle()
    machinery.built.roads[-1].dials[-1].answer.set_result(far)
    await settle()
    return client, far


async def test_a_start_that_fails_says_why() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await App(Machinery().settings(frontends=("local:bad",)), Notifier()).run()
    assert caught.group_contains(StartError, match="a bad door")


async def test_without_flows_it_ends_at_once() -> None:
    app = App(Machinery().settings(), Notifier())
    async with running(app) as task:
        app.stop("test")
        await settle()
        assert task.done()
    assert app.frontends == {}


async def test_flows_may_end_and_then_it_does() -> None:
    machinery = Machinery()
    app = App(machinery.settings(drain_timeout=30), Notifier())
    async with running(app) as task:
        client, far = await open_flow(machinery)
        app.stop("test")
        await advance(29)
        assert not task.done()
        client.feed(b"to the end")
        assert far.take() == b"to the end"
        client.feed_eof()
        far.feed_eof()
        await settle()
        assert task.done()
    assert client.calls[-1] == far.calls[-1] == "close"


@pytest.mark.parametrize("impatient", [False, True])
async def test_flows_that_take_too_long_are_aborted_and_at_once_the_second_time(impatient: bool) -> None:
    machinery = Machinery()
    app = App(machinery.settings(drain_timeout=30), Notifier())
    async with running(app) as task:
        client, far = await open_flow(machinery)
        app.stop("test")
        await advance(1)
        if impatient:
            app.stop("test")
            await settle()
        else:
            await advance(30)
        assert task.done()
    assert client.calls[-1] == far.calls[-1] == "abort"


async def reload(load: Callable[[], tuple[Settings, Notifier]], old: Settings, logs: Sequence[Mapping[str, Any]]) -> list[Settings]:
    """Run, reload once, and return what was applied."""
    applied: list[Settings] = []
    app = App(old, Notifier(), Origin(load, None, applied.append))
    async with running(app):
        app.reload("test")
        while not [line for line in logs if line["event"] in {"reloaded", "reload refused"}]:
            await asyncio.to_thread(lambda: None)  # another one reads the file
    return applied


async def test_a_good_reload_is_applied_and_plugins_that_are_active_now_hear_of_it() -> None:
    machinery = Machinery()
    heard: list[object] = []
    new = machinery.settings(("two",))
    observers = Notifier([Implementation(OBSERVER, "outline_lb_config_reloaded", heard.append, [0])])
    with capture_logs() as logs:
        applied = await reload(lambda: (new, observers), machinery.settings(), logs)
    assert applied == [new]
    assert heard == [("/upstreams/two", "/upstreams/one", "/pools/main")]
    [line] = [line for line in logs if line["event"] == "reloaded"]
    assert (line["by"], line["added"], line["removed"], line["changed"]) == ("test", ("/upstreams/two",), ("/upstreams/one",), ("/pools/main",))


async def test_nobody_hears_of_a_reload_that_changed_nothing() -> None:
    machinery = Machinery()
    heard: list[object] = []
    observers = Notifier([Implementation(OBSERVER, "outline_lb_config_reloaded", heard.append, [0])])
    with capture_logs() as logs:
        assert await reload(lambda: (machinery.settings(), observers), machinery.settings(), logs)
    assert heard == []


@pytest.mark.parametrize(
    ("error", "problems"),
    [
        (ConfigError(Problem("wrong", "/a", "x.yaml", 3, 5), Problem("bad", "/b", "x.yaml", 4, 1)), ["x.yaml:3:5: /a: wrong", "x.yaml:4:1: /b: bad"]),
        (StartError("no port"), ["no port"]),
        (ZeroDivisionError("a defect"), ["a defect"]),
    ],
)
async def test_a_bad_reload_is_a_line_for_each_problem(error: Exception, problems: list[str]) -> None:
    def load() -> tuple[Settings, Notifier]:
        raise error

    with capture_logs() as logs:
        applied = await reload(load, Machinery().settings(), logs)
    lines = [line for line in logs if line["event"] == "reload refused"]
    assert [line["problem"] for line in lines] == problems
    assert {line["log_level"] for line in lines} == {"error"}
    assert applied == []
