"""An Airboss whose ledger is in PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import psycopg

from airboss.testing import FakeProvider
from tests.support import postgres
from tests.support.airboss import Airboss, run_up
from tests.support.wait import until

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{base_url}"

[models.fake]
provider = "fake"
model = "fake-1"

[deployments.support]
model = "fake"

[store]
ledger = "{ledger}"
"""


def test_everything_is_kept_in_postgresql(tmp_path: Path) -> None:
    """Plans, keys and the audit log are there and in no file; calls go on while it is away, and after a kill
    what was in force is in force."""
    ledger = postgres.database(tmp_path)
    with FakeProvider() as provider:
        text = CONFIG.format(base_url=provider.url, ledger=ledger)
        with Airboss(tmp_path / "a", text) as airboss:
            assert airboss.chat("one", model="support").status_code == 200
            assert not (airboss.data / "ledger.db").exists()
            secret = json.loads(airboss.verb("keys", "create", "team", "--json"))["key"]
            (airboss.root / "more.toml").write_text(text + '[deployments.more]\nmodel = "fake"\n')
            airboss.verb("apply", "more.toml")
            until(lambda: airboss.chat("two", model="more").status_code == 200)
            airboss.begun_anew("controller")
            airboss.begun_anew("gateway-0")
            headers = {"authorization": f"Bearer {secret}"}
            models = f"{airboss.ready['base_url']}/models"
            until(lambda: answers(models, headers))
            until(lambda: airboss.api("status"))  # whoever is cut while it starts, starts again
            with psycopg.connect(ledger, autocommit=True) as connection:
                # As when the server was restarted: every connection is cut.
                others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                mine = " AND pid <> pg_backend_pid()"
                name = connection.info.dbname
                assert connection.execute((others + mine).encode(), (name,)).fetchall()
            assert airboss.chat("three", model="more").status_code == 200
            airboss.verb("keys", "revoke", "team")
            until(lambda: not answers(models, headers))
            assert json.loads(airboss.verb("audit", "verify", "--json"))["valid"]
            airboss.settled()
            assert len(airboss.records()) == 3
        with airboss:  # again: the file has what it had, what was applied is in force
            assert airboss.chat("four", model="more").status_code == 200
        other = text.replace(ledger, "sqlite:////tmp/elsewhere.db")
        (airboss.root / "airboss.toml").write_text(other)
        done = run_up("--port", "0", "--console-port", "0", cwd=airboss.root)
        assert done.returncode == 2
        assert "does not move by itself" in done.stderr


def answers(url: str, headers: dict[str, str]) -> bool:
    """Whether a key is taken."""
    try:
        return httpx2.get(url, headers=headers).status_code == 200
    except httpx2.TransportError:
        return False
