"""From a laptop's ledger to a server's and back: what was goes on, and is there once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from airboss.testing import FakeProvider
from tests.journeys.test_eval import ITEMS, answers, questions
from tests.support import postgres
from tests.support.airboss import Airboss, run_airboss, run_up
from tests.support.wait import hold_still, until

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.plain]
provider = "fake"
model = "plain"
price = {{ input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }}

[models.sharp]
provider = "fake"
model = "sharp"
price = {{ input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }}

[releases.support]
model = "{model}"

[releases.sharp]
model = "sharp"

[deployments.support]
release = "support"
rollout = {{ steps = [50], metrics = ["error_rate"], margin = {{ error_rate = 0.02 }}, step_units = 5000 }}
"""
STORE = '\n[store]\nledger = "env:THE_LEDGER"\n'
USERS = [f"user-{number}" for number in range(30)]
"""So many that both arms have some, however a rollout draws, and too few to show what the margin allows."""


def call(airboss: Airboss, secret: str, user: str) -> httpx2.Response:
    """One call of a team's."""
    body = {"model": "support", "user": user, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {secret}"}
    return httpx2.post(
        f"{airboss.ready['base_url']}/chat/completions", json=body, headers=headers, timeout=30
    )


def arms(airboss: Airboss, secret: str, ids: list[str]) -> dict[str, str]:
    """Which arm each user is on; their calls' ids are added."""
    found = {}
    for user in USERS:
        answer = call(airboss, secret, user)
        assert answer.status_code == 200, answer.text
        ids.append(answer.headers["x-request-id"])
        found[user] = answer.headers["x-airboss-arm"]
    return found


def respond(airboss: Airboss, text: str, **more: Any) -> dict[str, Any]:
    """A kept response."""
    with airboss.client() as client:
        answer = client.post("/responses", json={"model": "support", "input": text, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def spent(airboss: Airboss) -> Decimal:
    """What the team's budget says."""
    found = [json.loads(line) for line in airboss.verb("keys", "list", "--json").splitlines()]
    [team] = [each for each in found if each["name"] == "team"]
    return Decimal(str(team["budget"]["spent_usd"]))


def moved(airboss: Airboss, to: str, env: dict[str, str]) -> dict[str, Any]:
    """What moving says."""
    where = ("--data-dir", str(airboss.data))
    done = run_airboss("ledger", "move", "--to", to, "--json", *where, cwd=airboss.root, env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seen(airboss: Airboss, env: dict[str, str]) -> dict[str, str]:
    """What the doctor says of the ledger, by verdict."""
    done = run_airboss("doctor", "--json", "--data-dir", str(airboss.data), cwd=airboss.root, env=env)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["verdict"]: each["seen"] for each in found if each["name"] == "[store] ledger"}


def kill_with_a_journal(airboss: Airboss, secret: str, ids: list[str]) -> None:
    """End it all at once, with calls that were answered and that nobody has moved."""
    controller = airboss.pid("controller")
    assert controller is not None
    hold_still(controller)
    arms(airboss, secret, ids)
    airboss.close()
    os.kill(controller, signal.SIGKILL)
    assert any(path.stat().st_size for path in (airboss.data / "journal").rglob("*.seg"))


def check_goes_on(airboss: Airboss, secret: str, stood: dict[str, str], ids: list[str], plan: int) -> None:
    """What was in force is, every call has one record and was paid for once, and the history is the same."""
    assert airboss.status()["plan_number"] == plan
    assert arms(airboss, secret, ids) == stood
    airboss.settled()
    team = [record for record in airboss.records() if record["key"] == "team"]
    recorded = Counter(record["id"] for record in team)
    assert set(ids) <= set(recorded)
    assert set(recorded.values()) == {1}
    paid = sum((Decimal(str(record["cost_usd"])) for record in team), Decimal(0))
    until(lambda: spent(airboss) == paid)
    valid = json.loads(airboss.verb("audit", "verify", "--checkpoint", "checkpoint.json", "--json"))
    assert (valid["valid"], valid["problem"]) == (True, None)
    assert airboss.api("status")["audit_trouble"] is None


def test_from_the_laptop_to_a_server_and_back(provider: FakeProvider, tmp_path: Path) -> None:
    """Keys, plan, spend, arms of a rollout, kept responses, an evaluation under way, the audit log and what
    was still in journals: all goes on in PostgreSQL, and in the data directory again."""
    answers(provider, delay_s=0.03)
    env = {"THE_LEDGER": postgres.database(tmp_path)}
    airboss = Airboss(tmp_path / "a", CONFIG.format(url=provider.url, model="plain"), env=env)
    ids: list[str] = []
    with closing(airboss.start()):
        (airboss.root / "next.toml").write_text(CONFIG.format(url=provider.url, model="sharp"))
        airboss.verb("apply", "next.toml")
        airboss.verb("rollout", "start", "support")
        secret = json.loads(airboss.verb("keys", "create", "team", "--budget", "5", "--json"))["key"]
        until(lambda: call(airboss, secret, "first").status_code == 200)
        stood = arms(airboss, secret, ids)
        assert set(stood.values()) == {"stable", "canary"}
        first = respond(airboss, "remember the magpie")
        airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)))
        asked = provider.stats().answered
        run = ["eval", "run", "--dataset", "golden", "--deployment", "support", "--release", "sharp"]
        job = airboss.verb(*run, "--scorer", "exact", "--concurrency", "2", "--detach").strip()
        until(lambda: provider.stats().answered >= asked + ITEMS // 2)
        plan = airboss.status()["plan_number"]
        (airboss.root / "checkpoint.json").write_text(airboss.verb("audit", "checkpoint"))
        refused = run_airboss("ledger", "move", "--to", "env:THE_LEDGER", cwd=airboss.root, env=env)
        assert (refused.returncode, "stop that one" in refused.stderr) == (2, True), refused.stderr
        kill_with_a_journal(airboss, secret, ids)

    (airboss.root / "airboss.toml").write_text(CONFIG.format(url=provider.url, model="sharp") + STORE)
    told = run_up("--port", "0", "--console-port", "0", cwd=airboss.root, env=env)
    assert (told.returncode, "`airboss ledger move --to 'env:THE_LEDGER'` brings" in told.stderr) == (2, True)
    assert "`airboss ledger move --to 'env:THE_LEDGER'` brings" in seen(airboss, env)["fail"]
    found = moved(airboss, "env:THE_LEDGER", env)
    assert found["setting"] == "env:THE_LEDGER"
    assert found["rows"] == sum(each["rows"] for each in found["tables"].values()) > 100
    assert list(seen(airboss, env)) == ["ok", "warn"]
    assert "forgetting a person does not reach it" in seen(airboss, env)["warn"]

    with closing(airboss.start()):
        shown = json.loads(airboss.verb("eval", "show", job, "--wait", "--json"))
        assert shown["report"]["b"]["answers"] == ITEMS
        check_goes_on(airboss, secret, stood, ids, plan)
        second = respond(airboss, "what was it?", previous_response_id=first["id"])
        assert "remember the magpie" in provider.last().body
        airboss.verb("apply", "airboss.toml")
        plan = airboss.status()["plan_number"]
        kill_with_a_journal(airboss, secret, ids)

    back = f"sqlite:///{airboss.data / 'ledger.db'}"
    where = ("--to", back, "--data-dir", str(airboss.data))
    refused = run_airboss("ledger", "move", *where, cwd=airboss.root, env=env)
    assert (refused.returncode, "is not empty" in refused.stderr) == (2, True), refused.stderr
    for file in airboss.data.glob("ledger.db*"):
        file.unlink()
    assert moved(airboss, back, env)["setting"] is None
    (airboss.root / "airboss.toml").write_text(CONFIG.format(url=provider.url, model="sharp"))
    with airboss:
        check_goes_on(airboss, secret, stood, ids, plan)
        respond(airboss, "and now?", previous_response_id=second["id"])
        assert "remember the magpie" in provider.last().body
        actions = [json.loads(each) for each in airboss.verb("audit", "list", "--json").splitlines()]
        names = [each["detail"] for each in actions if each["action"] == "ledger.move"]
        assert [each["to"].startswith("postgresql://") for each in names] == [False, True]
        airboss.verb("rollout", "promote", "support")  # of a configuration that names the server still
        until(lambda: set(arms(airboss, secret, ids).values()) == {"stable"})
