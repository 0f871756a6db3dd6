"""Answers in the cache whose time is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.testing import FakeProvider
from tests.gateway.test_cache import kept, worker
from tests.support.gateway import Gateway, deployment
from tests.support.wait import until


@pytest.fixture
def own(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own."""
    with worker(provider.url, own_root) as running:
        yield running


def test_what_is_over_is_deleted(own: Gateway, provider: FakeProvider) -> None:
    """Whoever asks, and if nobody does; also where its deployment is gone by then."""
    own.chat("hello", model="short", user="anna")
    until(lambda: kept(own) == 1)
    own.publish(deployment(provider.url))
    until(lambda: kept(own) == 0)
