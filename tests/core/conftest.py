"""What the tests of plugins and configuration share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributions import Site

NewSite = Callable[[], Site]


@pytest.fixture
def new_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewSite]:
    """Return a function that puts a new folder in front of ``sys.path``."""
    sites: list[Site] = []

    def make() -> Site:
        site = Site(tmp_path / f"site{len(sites)}")
        sites.append(site)
        monkeypatch.syspath_prepend(site.folder)
        return site

    yield make
    for site in sites:
        site.forget()


@pytest.fixture
def site(new_site: NewSite) -> Site:
    """Return a folder like site-packages, on ``sys.path``."""
    return new_site()
