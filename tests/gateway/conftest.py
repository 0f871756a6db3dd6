"""Fixtures of the gateway's tests: one worker in front of one fake provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.domain.plan import Retry
from airboss.testing import FakeProvider
from tests.support.dialects import foreign
from tests.support.fake import fake_process, provider
from tests.support.gateway import PATIENT, PRICE, Gateway, deployment, hasty
from tests.support.said_upstream import SaidUpstream, said_upstream

__all__ = ["fake_process", "foreign", "provider"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def shared_gateway(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with no retries and nobody to go on, for a module's tests."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text("sk-provider-secret-0123456789")
    plan = deployment(
        fake_process.url,
        timeout=PATIENT,
        price=PRICE,
        api_key_ref=f"file:{secret}",
        continuation="off",
    )
    patient = deployment(
        fake_process.url, name="patient", aliases=(), continuation="off", retry=Retry(attempts=3)
    )
    no_tools = deployment(fake_process.url, name="no-tools", aliases=(), tools=False)
    with Gateway(tmp_path_factory.mktemp("gateway"), plan, patient, no_tools, hasty(plan)) as running:
        yield running


@pytest.fixture
def gateway(shared_gateway: Gateway, provider: FakeProvider) -> Gateway:
    """The module's worker, its provider as it was when it began."""
    return shared_gateway


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """A folder for a worker of the test's own."""
    return tmp_path / "gateway"
