"""Two people change what a running Airboss serves: one asks, the other approves. The admin's verbs wait for
nobody."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.receiver import Receiver
from tests.support.wait import until

WANTED = "\n[approvals]\nrequired = true\n"


def test_one_asks_and_another_approves(provider: FakeProvider, tmp_path: Path) -> None:
    """By verbs with keys of their own, over a controller that is killed between; the verb that asks exits
    with 1, as its change is not in force."""
    with Receiver(tmp_path) as told_at:
        text = fake(provider.url) + WANTED + f'[notifiers.ops]\nwebhook = "{told_at.url}"\n'
        with Airboss(tmp_path / "a", text) as airboss:
            _two_people(airboss, text)
            until(lambda: len(told_at.told) == 2)
        waits, decided = told_at.told
        assert (waits["state"], waits["by"], waits["detail"]) == ("waiting", "ann", "people say help")
        assert (decided["state"], decided["decided_by"]) == ("approved", "bob")
        assert waits["link"] == f"{airboss.ready['console_url']}/governance/approvals"


def test_what_nobody_decides_lapses(provider: FakeProvider, tmp_path: Path) -> None:
    """Also while no controller is there to see it; the audit log has it, and whoever asked is told."""
    with Receiver(tmp_path) as told_at:
        text = fake(provider.url) + WANTED + f'[notifiers.ops]\nwebhook = "{told_at.url}"\n'
        with Airboss(tmp_path / "a", text) as airboss:
            ann = json.loads(airboss.verb("keys", "create", "ann", "--role", "operator", "--json"))["key"]
            new = airboss.root / "new.toml"
            new.write_text(text.replace("[deployments.support]", '[deployments.support]\naliases = ["help"]'))
            env = {**os.environ, "AIRBOSS_ADMIN_KEY": ann}
            said = ("--url", airboss.ready["console_url"])
            assert run_airboss("apply", str(new), *said, cwd=airboss.root, env=env).returncode == 1
            assert "lapses: in 7 d" in airboss.verb("approvals", "show", "1")
            with closing(sqlite3.connect(airboss.data / "ledger.db", timeout=60)) as ledger, ledger:
                aged = "update proposals set content = json_set(content, '$.at', ?)"
                ledger.execute(aged, ((datetime.now(UTC) - timedelta(days=7)).isoformat(),))
            late = run_airboss("approvals", "approve", "1", cwd=airboss.root)
            assert (late.returncode, "laps" in late.stderr) == (2, True), late.stderr
            airboss.begun_anew("controller")
            until(lambda: len(told_at.told) == 2)
            found = json.loads(airboss.verb("approvals", "list", "--all", "--json"))
            assert (found["state"], found["decided_by"]) == ("lapsed", "airboss")
            assert airboss.chat(model="help").status_code == 404
            assert "valid" in airboss.verb("audit", "verify")
    assert [each["state"] for each in told_at.told] == ["waiting", "lapsed"]


def _two_people(airboss: Airboss, text: str) -> None:
    keys = {
        name: json.loads(airboss.verb("keys", "create", name, "--role", "operator", "--json"))["key"]
        for name in ("ann", "bob")
    }
    file = airboss.root / "new.toml"
    file.write_text(text.replace("[deployments.support]", '[deployments.support]\naliases = ["help"]'))

    def verb(who: str, *arguments: str) -> tuple[int, str]:
        env = {**os.environ, "AIRBOSS_ADMIN_KEY": keys[who]}
        said = ("--url", airboss.ready["console_url"])
        done = run_airboss(*arguments, *said, cwd=airboss.root, env=env)
        airboss.taken()
        return done.returncode, done.stdout + done.stderr

    code, told = verb("ann", "apply", str(file), "--reason", "people say help")
    assert (code, "this waits as 1" in told) == (1, True)
    assert airboss.chat(model="help").status_code == 404
    airboss.begun_anew("controller")
    until(lambda: airboss.api("status"))
    code, told = verb("ann", "approvals", "approve", "1")
    assert (code, "somebody else approves it" in told) == (2, True), told
    code, told = verb("bob", "approvals", "show", "1")
    assert (code, "aliases" in told, "people say help" in told) == (0, True, True)
    assert verb("bob", "approvals", "approve", "1")[0] == 0
    assert airboss.chat(model="help").status_code == 200
    code, told = verb("bob", "approvals", "list", "--all", "--json")
    found = json.loads(told)
    assert (found["by"], found["decided_by"], found["state"]) == ("ann", "bob", "approved")
    airboss.verb("apply", "airboss.toml")
    assert airboss.chat(model="help").status_code == 404
    assert "valid" in airboss.verb("audit", "verify")
