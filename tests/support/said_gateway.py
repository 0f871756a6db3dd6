"""A worker in front of an upstream that says exactly what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from airboss.domain.plan import DeploymentPlan
from tests.support.gateway import Gateway
from tests.support.said_upstream import SaidUpstream

SECRET = "AKIAABCDEFGHIJKLMNOP:aws+secret/of+the+tests"  # a key of every kind: Bedrock's have two parts


def said_gateway(plans: Callable[[str, str], Sequence[DeploymentPlan]]) -> tuple[Any, Any]:
    """The fixtures `worker` and `gateway` of a module: one worker with what `plans` makes of the upstream's
    URL and of a reference to a key, and the same with nothing for its upstream to say yet, for each test."""

    @pytest.fixture(scope="module")
    def worker(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
        """A worker with these deployments."""
        secret = tmp_path_factory.mktemp("secret") / "key"
        secret.write_text(SECRET)
        made = plans(upstream.url, f"file:{secret}")
        with Gateway(tmp_path_factory.mktemp("gateway"), *made) as running:
            yield running

    @pytest.fixture
    def gateway(worker: Gateway, upstream: SaidUpstream) -> Gateway:
        """That worker; its upstream has nothing to say yet."""
        upstream.reset()
        return worker

    return worker, gateway
