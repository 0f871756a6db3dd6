"""One gateway in front of the fake provider for all clients, and one in front of a real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airboss.testing import FakeProvider
from tests.support.engine_process import SLOT_TOKENS, engine
from tests.support.fake import fake_process
from tests.support.gateway import PRICE, Gateway, deployment

__all__ = ["fake_process"]


@pytest.fixture(scope="session")
def faked(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that serves the fake provider as OpenAI's, without retries of its own."""
    plan = deployment(fake_process.url, kind="openai", price=PRICE)
    with Gateway(tmp_path_factory.mktemp("clients") / "g", plan) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that serves the starter model."""
    with engine() as running:
        plan = deployment(
            f"{running.url}/v1", kind="local", upstream_model="tiny", slot_tokens=SLOT_TOKENS, tools=True
        )
        with Gateway(tmp_path_factory.mktemp("clients") / "l", plan) as gateway:
            yield gateway
