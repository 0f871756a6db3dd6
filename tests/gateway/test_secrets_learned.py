"""A gateway tells of the providers' keys in a plan before a call can use them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from airboss.domain.plan import Target
from airboss.domain.ports import Snapshot
from airboss.gateway import serve
from tests.store.ledgers import plan
from tests.support.gateway import deployment


class OnePlan:
    """A ledger whose plan changes when it is told to."""

    def __init__(self) -> None:
        self.number = 1
        self.key = "first-provider-key"

    def revision(self) -> int:
        """As `ports.Ledger`."""
        return self.number

    def snapshot(self) -> Snapshot:
        """As `ports.Ledger`."""
        served = deployment("http://127.0.0.1:9/v1", api_key_ref=f"env:{self.key}")
        return Snapshot(revision=self.number, plan=plan(served), keys=())


def key_in(target: Target) -> str | None:
    """The key of a target is its reference."""
    return target.api_key_ref


async def share(_directory: Path) -> None:
    """Nobody waits for this worker."""


def test_keys_are_told_before_they_are_served(tmp_path: Path) -> None:
    """With each plan, and while the worker still serves the plan before."""
    told: list[tuple[tuple[str, ...], int | None]] = []
    clock = SimpleNamespace(now=lambda: datetime.now(UTC))
    executor = SimpleNamespace(places=SimpleNamespace(keep=lambda _: None))
    worker: Any = SimpleNamespace(serving=None, limiter=None, clock=clock, executor=executor, share=share)

    def on_secrets(secrets: tuple[str, ...]) -> None:
        told.append((secrets, worker.serving.revision if worker.serving is not None else None))

    settings = serve.GatewaySettings(
        name="gateway-0",
        body_bytes_max=1,
        metrics_dir=tmp_path,
        metrics_open=True,
        admin_key="a" * 16,
        own_secrets=(),
        on_secrets=on_secrets,
    )
    ledger: Any = OnePlan()
    for number, key in ((1, "first-provider-key"), (1, "unseen"), (2, "second-provider-key")):
        ledger.number, ledger.key = number, key
        asyncio.run(serve._follow_plan_once(worker, cast("Any", ledger), settings, key_in))
    assert told == [(("env:first-provider-key",), None), (("env:second-provider-key",), 1)]
    assert worker.serving.revision == 2
