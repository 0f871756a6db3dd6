"""Who has a console key is told how everything stands while the ledger does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airboss.console import callers, desk
from airboss.domain.errors import SetupError
from tests.console.governed import Governed, governed


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Governed]:
    """A console over a real ledger."""
    with governed(tmp_path) as made:
        yield made


@pytest.fixture
def hanging() -> Iterator[Callable[[], int]]:
    """A ledger that says nothing until the test is over."""
    ended = threading.Event()

    def silent() -> int:
        ended.wait()
        raise SetupError("the test is over")

    yield silent
    ended.set()


@pytest.mark.parametrize("way", ["away", "silent"])
def test_a_key_that_was_known_is_told_how_everything_stands(
    real: Governed, hanging: Callable[[], int], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else, nor is a key that nobody knew: what was read last may not hold any more."""
    monkeypatch.setattr(callers, "SILENT_S", 0.05)
    monkeypatch.setattr(desk, "READ_S", 0.1)
    made = real.program().post("/api/v1/keys", json={"name": "grafana", "role": "viewer"}).json()
    spent = real.program().post("/api/v1/keys", json={"name": "gone", "role": "viewer"}).json()
    assert real.program().post("/api/v1/keys/gone/revoke", json={}).status_code == 200
    client = real.client()

    def asked(path: str, key: str = made["key"]) -> Any:
        return client.get(f"/api/v1/{path}", headers={"authorization": f"Bearer {key}"})

    assert asked("status").status_code == 200

    def away() -> int:
        raise SetupError("the ledger is away")

    monkeypatch.setattr(real.ledger, "revision", away if way == "away" else hanging)
    for _ in range(3):
        assert asked("status").status_code == 200
    assert asked("records").status_code in {500, 503}
    assert asked("status", spent["key"]).status_code in {500, 503}
    assert asked("status", "ab_" + "x" * 43).status_code in {500, 503}


def test_a_key_that_has_expired_meanwhile_is_known_no_more(
    real: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time goes on without the ledger."""
    made = (
        real.program()
        .post(
            "/api/v1/keys",
            json={
                "name": "n",
                "role": "viewer",
                "expires_at": (real.clock.now() + timedelta(hours=1)).isoformat(),
            },
        )
        .json()
    )
    client, headers = real.client(), {"authorization": f"Bearer {made['key']}"}
    assert client.get("/api/v1/status", headers=headers).status_code == 200

    def away() -> int:
        raise SetupError("the ledger is away")

    monkeypatch.setattr(real.ledger, "revision", away)
    real.clock.forward(3_601)
    assert client.get("/api/v1/status", headers=headers).status_code in {401, 500, 503}
