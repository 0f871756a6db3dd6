"""Secrets with an end, while the ledger is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2

from airboss.domain.ports import ApiKey
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Clock, Gateway, deployment
from tests.support.wait import until


def test_a_secret_ends_though_the_ledger_is_away(fake_process: FakeProvider, tmp_path: Path) -> None:
    """A key at its expiry, and a secret from before a rotation at the end of its grace; other keys serve."""
    clock = Clock(tmp_path / "gateway")
    made = datetime.now(UTC)
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=made),
        ApiKey(name="ends", sha256=hash_key("ends"), created_at=made, expires_at=made + timedelta(hours=1)),
        ApiKey(
            name="rotated",
            sha256=hash_key("new"),
            created_at=made,
            previous_sha256=hash_key("old"),
            previous_until=made + timedelta(hours=2),
        ),
    )
    with Gateway(tmp_path / "gateway", deployment(fake_process.url), keys=keys) as gateway:

        def taken() -> list[str]:
            return [each for each in (KEY, "ends", "new", "old") if knows(gateway, each)]

        assert taken() == [KEY, "ends", "new", "old"]
        (tmp_path / "gateway/snapshot.json").unlink()
        until(lambda: "the one held is served" in gateway.log)
        clock.set(passed_s=3601)
        until(lambda: taken() == [KEY, "new", "old"], timeout_s=20)
        clock.set(passed_s=7201)
        until(lambda: taken() == [KEY, "new"], timeout_s=20)
        assert gateway.chat().status_code == 200


def knows(gateway: Gateway, key: str) -> bool:
    """Whether it takes a key."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.get(f"{gateway.url}/v1/models", headers=headers, timeout=20).status_code == 200
