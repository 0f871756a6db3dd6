"""A person is forgotten and the log still proves what was done: the whole system, as it is run."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss, run_airboss
from tests.support.files import holding
from tests.support.wait import hold_still, until

USER = "ann-unmistakable-7f3a"
WORDS = "words that only ann would say"
THEIRS = (USER.encode(), WORDS.encode())

CONFIG = """
[providers.elsewhere]
kind = "openai-compatible"
base_url = "{url}"

[models.small]
provider = "elsewhere"
model = "small-1"
price = {{ input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }}

[deployments.assistant]
model = "small"
"""


@pytest.fixture
def provider() -> Any:
    """A provider that answers."""
    with FakeProvider() as made:
        yield made


def erased(airboss: Airboss, user: str) -> dict[str, Any]:
    """What `airboss erase` says."""
    found: dict[str, Any] = json.loads(airboss.verb("erase", "--user", user, "--yes", "--json"))
    return found


def cost(airboss: Airboss) -> float:
    """The sum over all records."""
    return sum(each["cost_usd"] for each in airboss.records())


def test_a_person_is_forgotten_while_calls_go_on(tmp_path: Path, provider: FakeProvider) -> None:
    """Also while the store is down: pending then, done by itself; nothing of them stands in any file, costs
    are as before, and the log verifies, running and stopped, against a checkpoint from before."""
    with Airboss(tmp_path, CONFIG.format(url=provider.url)) as airboss:
        for _ in range(3):
            assert airboss.chat(WORDS, user=USER, metadata={"session_id": USER, "team": USER}).is_success
            assert airboss.chat("others' words", user="bob").is_success
        airboss.settled()
        checkpoint = tmp_path / "checkpoint.json"
        checkpoint.write_text(airboss.verb("audit", "checkpoint"))
        before = cost(airboss)
        headers = {"authorization": f"Bearer {airboss.ready['admin_key']}"}
        view = {"name": "of one", "url": f"/records?user={USER}"}
        saved = httpx2.post(f"{airboss.ready['console_url']}/api/v1/views", json=view, headers=headers)
        assert saved.is_success
        assert holding(airboss.data, *THEIRS)

        found = erased(airboss, USER)
        assert (found["state"], found["records"]) == ("done", 3)
        assert holding(airboss.data, *THEIRS) == []
        assert (len(airboss.records("--user", "bob")), cost(airboss)) == (3, before)

        store, up = airboss.pid("store"), airboss.process
        assert store is not None
        assert up is not None
        assert airboss.chat(WORDS, user=USER).is_success
        hold_still(up.pid)  # who would start it again at once
        os.kill(store, signal.SIGKILL)
        assert airboss.chat(WORDS, user=USER).is_success
        until(lambda: not airboss.api("status")["journal"]["store_up"], timeout_s=60, every_s=0.3)
        assert erased(airboss, USER)["state"] == "pending"
        assert airboss.status()["erasures_pending"] == 1
        up.send_signal(signal.SIGCONT)
        until(lambda: airboss.api("status")["erasures_pending"] == 0, timeout_s=60, every_s=0.3)
        assert holding(airboss.data, *THEIRS) == []
        assert len(airboss.records()) == 8
        airboss.verb("audit", "verify", "--checkpoint", str(checkpoint))
        remote = run_airboss(
            *("audit", "verify", "--checkpoint", str(checkpoint), "--url", airboss.ready["console_url"]),
            cwd=tmp_path,
            env={"AIRBOSS_ADMIN_KEY": airboss.ready["admin_key"]},
        )
        assert (remote.returncode, "extends the checkpoint" in remote.stdout) == (0, True), remote.stderr
    assert holding(airboss.data, *THEIRS) == []
    there = ("--data-dir", str(airboss.data))
    stopped = run_airboss("audit", "verify", "--checkpoint", str(checkpoint), *there, cwd=tmp_path)
    assert (stopped.returncode, "extends the checkpoint" in stopped.stdout) == (0, True)
    with closing(sqlite3.connect(airboss.data / "ledger.db")) as ledger, ledger:
        ledger.execute("update audit_leaves set content = replace(content, '\"erasure\":1', '\"erasure\":9')")
    tampered = run_airboss("audit", "verify", "--json", *there, cwd=tmp_path)
    assert tampered.returncode == 1
    verdict = json.loads(tampered.stdout)
    assert (verdict["valid"], "leaf" in verdict["problem"]) == (False, True)


def test_a_key_lives_and_dies(tmp_path: Path, provider: FakeProvider) -> None:
    """Made, used, rotated with a grace, revoked: each takes effect within a second, at every gateway."""
    with Airboss(tmp_path, CONFIG.format(url=provider.url), "--workers", "2") as airboss:
        made = json.loads(airboss.verb("keys", "create", "team-a", "--deployments", "assistant", "--json"))

        def all_say(secret: str, status: int) -> bool:
            """Whether several new connections in a row, so that each worker is asked, get this."""
            url, headers = f"{airboss.ready['base_url']}/models", {"authorization": f"Bearer {secret}"}
            return all(httpx2.get(url, headers=headers).status_code == status for _ in range(8))

        until(lambda: all_say(made["key"], 200), timeout_s=airboss.soon_s(1.5))
        rotated = json.loads(airboss.verb("keys", "rotate", "team-a", "--grace", "1h", "--json"))
        until(lambda: all_say(rotated["key"], 200), timeout_s=airboss.soon_s(1.5))
        assert all_say(made["key"], 200)
        airboss.verb("keys", "revoke", "team-a")
        until(
            lambda: all_say(rotated["key"], 401) and all_say(made["key"], 401), timeout_s=airboss.soon_s(1.5)
        )
        starter = json.loads(airboss.verb("keys", "rotate", "default", "--json"))
        until(lambda: all_say(airboss.ready["api_key"], 401), timeout_s=airboss.soon_s(1.5))
        assert (airboss.data / "secrets" / "api_key").read_text().strip() == starter["key"]
        listed = [json.loads(line)["action"] for line in airboss.verb("audit", "list", "--json").splitlines()]
        assert listed[:4] == ["keys.rotate", "keys.revoke", "keys.rotate", "keys.create"]
    with airboss:
        assert airboss.ready["api_key"] == starter["key"]
        assert airboss.chat("hi").is_success
