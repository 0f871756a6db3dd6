"""What a worker does by the clock, and how it ends where that fails."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from airboss.gateway import serve
from airboss.gateway.limits import Limiter
from airboss.governance.counters_local import LocalCounters
from airboss.governance.owner import Owner
from airboss.telemetry.journal import JournalWriter
from tests.gateway.test_secrets_learned import OnePlan, key_in
from tests.support.gateway_process import SystemClock


class Broken(Limiter):
    """Its chore has a defect."""

    async def run(self) -> Any:
        """Fail at once."""
        await asyncio.sleep(0)
        raise KeyError("a defect")


def test_a_worker_whose_chore_fails_ends(tmp_path: Path) -> None:
    """It must not look alive: the supervisor starts another."""
    clock = SystemClock()
    owner = Owner(None, now=0.0)
    limiter = Broken(LocalCounters(owner, worker="gateway-0", now=clock.monotonic), clock=clock)
    settings = serve.GatewaySettings(
        name="gateway-0",
        body_bytes_max=1_000,
        metrics_dir=tmp_path,
        metrics_open=True,
        admin_key="a" * 16,
        own_secrets=(),
    )
    ledger: Any = OnePlan()
    with socket.create_server(("127.0.0.1", 0)) as listen:
        journal = JournalWriter(tmp_path / "journal", "gateway-0")
        serving = serve.serve(
            ledger=ledger,
            journal=journal,
            listen=listen,
            settings=settings,
            provider_key=key_in,
            clock=clock,
            limiter=limiter,
        )
        try:
            with pytest.raises(KeyError, match="a defect"):
                asyncio.run(asyncio.wait_for(serving, 20))
        finally:
            journal.stop()
