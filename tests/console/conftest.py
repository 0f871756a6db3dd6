"""Consoles to test."""

from __future__ import annotations

import pytest

from airboss.store.memory import MemoryRecordLog
from tests.console.site import DownLog, Site, busy_log


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
