"""Consoles to test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.store.memory import MemoryRecordLog
from tests.console.looped import LoopSite, looped, opened
from tests.console.site import DownLog, Site, busy_log
from tests.support.seed_alarms import alarm
from tests.support.seed_loop import Loop
from tests.support.seed_quality import quality


@pytest.fixture(scope="session")
def day() -> MemoryRecordLog:
    """A busy day; tests only read it."""
    return busy_log()


@pytest.fixture
def site(day: MemoryRecordLog) -> Site:
    """A console over that day."""
    return Site(log=day)


@pytest.fixture
def empty() -> Site:
    """A console that has seen nothing yet."""
    return Site()


@pytest.fixture
def down() -> Site:
    """A console whose record store does not answer."""
    return Site(log=DownLog(), store_up=False)


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopSite]:
    """A console over a week in which everything happened; tests only read it."""
    loop = Loop(folder=tmp_path_factory.mktemp("week"))
    loop.week(calls=350)
    alarm(loop)
    quality(loop)
    yield looped(loop)
    loop.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LoopSite]:
    """A console over an Airboss of the test's own, where nothing has happened yet."""
    with opened(tmp_path) as site:
        yield site
