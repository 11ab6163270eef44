from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from outline_lb.base.errors import StartError
from outline_lb.running import watch
from outline_lb.running.watch import ConfigFile, way_to


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.yaml"
    path.write_text("one")
    return path


def test_only_another_content_is_a_change(path: Path) -> None:
    file = ConfigFile(path)
    path.touch()
    assert not file.look()
    path.write_text("two")
    assert file.look()
    assert not file.look()


def test_a_file_that_goes_and_comes_back_is_no_change(path: Path) -> None:
    file = ConfigFile(path)
    path.unlink()
    assert not file.look()
    path.write_text("one")
    assert not file.look()


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartError, match=f"{name}: cannot be read: "):
        ConfigFile(tmp_path / name)


def test_a_pipe_is_left_to_who_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not ConfigFile(tmp_path / "pipe").look()


def test_the_way_to_a_file_leads_over_links(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one / "..data-1", two):
        folder.mkdir(parents=True)
    (one / "..data-1/file").write_text("")
    (one / "..data").symlink_to("..data-1")
    (one / "file").symlink_to("..data/file")
    (two / "link").symlink_to(one / "file")
    assert way_to(one / "..data-1/file") == {one / "..data-1"}
    assert way_to(one / "file") == {one, one / "..data-1"}
    assert way_to(two / "link") == {two, one, one / "..data-1"}


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert way_to(tmp_path / "a") == {tmp_path}


@pytest.fixture
async def changes(path: Path) -> AsyncIterator[list[str]]:
    """Watch the file, and collect what it says after each change."""
    seen: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ConfigFile(path).watch, lambda: seen.append(path.read_text()))
        yield seen
        tasks.cancel_scope.cancel()


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def until(seen: list[str], *texts: str) -> None:
    with anyio.fail_after(10):
        while seen != list(texts):
            await anyio.sleep(0.01)


async def test_changes_are_seen_one_after_the_other(path: Path, changes: list[str]) -> None:
    write(path, "two")
    await until(changes, "two")
    write(path.with_name("new"), "three").replace(path)
    await until(changes, "two", "three")


async def test_other_files_of_the_folder_do_not_matter(path: Path, changes: list[str]) -> None:
    write(path.with_name("other"), "x")
    await anyio.sleep(0.3)
    write(path, "two")
    await until(changes, "two")


async def test_where_nothing_can_be_watched_it_looks_from_time_to_time(path: Path, changes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK", 0.05)
    monkeypatch.setattr(watch, "way_to", lambda _: {path.parent / "nowhere"})
    write(path, "two")  # after this the folders are not the same, and cannot be watched
    await until(changes, "two")
    write(path, "three")
    await until(changes, "two", "three")
