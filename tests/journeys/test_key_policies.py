"""Policies of keys and of teams at a running Airboss: said by a file and by verbs, without a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2

from airboss.providers.fake_faults import Behaviour
from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

MAIL, CARD = "jane.doe@example.com", "4111 1111 1111 1111"
POLICIES = """
[policies.masks]
pii = { action = "mask", kinds = ["email"] }
[policies.strict]
pii = { action = "block", kinds = ["card"] }
"""
SHADOW = """shadow = { release = "kind", sample = 1 }
[releases.kind]
model = "fake"
prompt = "Be kind."
"""


def ask(airboss: Airboss, key: str, content: str = "whom to ask?") -> httpx2.Response:
    """One call with a key; whom it says to ask has an address."""
    asked = {"model": "support", "messages": [{"role": "user", "content": content}]}
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.post(
        f"{airboss.ready['base_url']}/chat/completions", json=asked, headers=headers, timeout=30.0
    )


def test_policies_of_a_key_and_its_team_bind_it(provider: FakeProvider, tmp_path: Path) -> None:
    """From the next call on, also what a shadow is asked in its place; what is named cannot be taken away;
    over restarts, until it is taken back."""
    provider.script(*[Behaviour(text=f"Ask {MAIL}")] * 300)
    text = fake(provider.url, SHADOW) + POLICIES
    with Airboss(tmp_path / "a", text) as airboss:
        app = json.loads(airboss.verb("keys", "create", "app", "--policy", "masks", "--json"))["key"]
        free = airboss.ready["api_key"]
        until(lambda: ask(airboss, app).status_code == 200)
        answer = ask(airboss, app)
        assert "Ask [EMAIL]" in answer.text
        other = ask(airboss, free, CARD)
        assert f"Ask {MAIL}" in other.text
        assert [each["keys"] for each in lines(airboss.verb("policy", "list", "--json"))] == [["app"], []]
        for asked, there in ((answer, False), (other, True)):
            of = f"shadow_of={asked.headers['x-request-id']}"
            (record,) = until(lambda of=of: airboss.records("--tag", of))  # type: ignore[misc]
            assert (record["arm"], MAIL in json.dumps(record)) == ("shadow", there)

        applied = f'{text}[teams.sales]\npolicy = "strict"\n[keys.app]\nteam = "sales"\n'
        assert apply(airboss, applied).returncode == 0
        until(lambda: ask(airboss, app, CARD).status_code == 400)
        assert "a policy of this key blocks requests that hold card" in ask(airboss, app, CARD).text
        assert "Ask [EMAIL]" in ask(airboss, app).text
        assert ask(airboss, free, CARD).status_code == 200
        for gone, words in (("masks", "there is no [policies.masks]"), ("strict", 'no policy "strict"')):
            refused = apply(airboss, applied.replace(f"[policies.{gone}]", "[policies.other]"))
            assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
        (shown,) = [each for each in lines(airboss.verb("keys", "list", "--json")) if each["name"] == "app"]
        assert (shown["policy"], shown["team"]["policy"]) == ("masks", "strict")
    stopped = lines(airboss.verb("policy", "list", "--json"))
    assert [(each["keys"], each["teams"]) for each in stopped] == [(["app"], []), ([], ["sales"])]
    with Airboss(tmp_path / "a") as airboss:
        assert ask(airboss, app, CARD).status_code == 400
        assert "Ask [EMAIL]" in ask(airboss, app).text
        airboss.verb("keys", "set", "app", "--policy", "none")
        until(lambda: f"Ask {MAIL}" in ask(airboss, app).text)
        wrong = run_airboss("keys", "set", "app", "--policy", "mask", cwd=airboss.root)
        assert (wrong.returncode, 'did you mean "masks"?' in wrong.stderr) == (2, True), wrong.stderr
        said = [
            each for each in lines(airboss.verb("audit", "list", "--json")) if each["subject"] == "key app"
        ]
        told = [each["detail"].get("policies") for each in said]
        assert told == [["strict"], ["masks", "strict"], ["masks"]]
        assert "valid" in airboss.verb("audit", "verify")


def apply(airboss: Airboss, text: str) -> Any:
    """What comes of applying a configuration."""
    (airboss.root / "airboss.toml").write_text(text)
    return run_airboss("apply", "airboss.toml", cwd=airboss.root)


def lines(text: str) -> list[dict[str, Any]]:
    """What a verb prints with --json."""
    return [json.loads(each) for each in text.splitlines()]
