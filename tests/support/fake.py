"""Fixtures for tests against the fake provider. A conftest takes them in with
`from tests.support.fake import fake_process, provider`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airboss.testing import FakeProvider
from tests.support.wait import hold_still


@pytest.fixture(scope="session")
def fake_process() -> Iterator[FakeProvider]:
    """One fake provider for the whole run; tests use `provider`."""
    with FakeProvider() as running:
        yield running


@pytest.fixture
def provider(fake_process: FakeProvider) -> Iterator[FakeProvider]:
    """The fake provider as it was when it began: no script, no counts, no outage; and so it is left."""
    fake_process.reset()
    yield fake_process
    fake_process.reset()


@contextmanager
def held(provider: FakeProvider) -> Iterator[None]:
    """Until the end of the block whoever asks it anything waits: a call is under way for as long as the test
    needs it to be, and no longer."""
    hold_still(provider.pid)
    try:
        yield
    finally:
        os.kill(provider.pid, signal.SIGCONT)
