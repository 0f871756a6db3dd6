"""Every dialect in one Airboss: what `/v1/responses` keeps outlives a kill, and goes with its user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss
from tests.support.fake import fake_process, provider
from tests.support.files import holding
from tests.support.wait import until

__all__ = ["fake_process", "provider"]

USER = "ann-unmistakable-9c41"
WORDS = "words that only ann would say here"


def respond(airboss: Airboss, text: str, **body: Any) -> httpx2.Response:
    """One response."""
    return httpx2.post(
        f"{airboss.ready['base_url']}/responses",
        headers={"authorization": f"Bearer {airboss.ready['api_key']}"},
        json={"model": "support", "input": text} | body,
        timeout=30,
    )


def message(airboss: Airboss, text: str, user: str) -> Any:
    """One message, as Anthropic's clients ask for it."""
    return httpx2.post(
        f"{airboss.ready['base_url']}/messages",
        headers={"x-api-key": airboss.ready["api_key"]},
        json={
            "model": "support",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": text}],
            "metadata": {"user_id": user},
        },
        timeout=30,
    ).json()


def kept(airboss: Airboss, response_id: str) -> int:
    """The status of asking for a response."""
    return httpx2.get(
        f"{airboss.ready['base_url']}/responses/{response_id}",
        headers={"authorization": f"Bearer {airboss.ready['api_key']}"},
        timeout=30,
    ).status_code


def test_responses(tmp_path: Path, provider: FakeProvider) -> None:
    """A conversation goes on after its gateway was killed; when its user is erased nothing of it is left."""
    config = fake(provider.url) + "[gateway]\nresponses_days = 7\n"
    with Airboss(tmp_path / "a", config) as airboss:
        first = respond(airboss, WORDS, user=USER).json()
        airboss.begun_anew("gateway-0")
        until(lambda: _ready(airboss))
        second = respond(airboss, "and on", user="bob", previous_response_id=first["id"])
        assert second.status_code == 200, second.text
        assert WORDS in provider.last().body
        assert message(airboss, "hi", USER)["type"] == "message"
        airboss.settled()
        by_user = airboss.records("--user", USER)
        assert [record["operation"] for record in by_user] == ["chat", "chat"]
        assert holding(airboss.data, USER.encode(), WORDS.encode())

        assert json.loads(airboss.verb("erase", "--user", USER, "--yes", "--json"))["state"] == "done"
        assert kept(airboss, first["id"]) == 404
        assert kept(airboss, second.json()["id"]) == 200
        assert respond(airboss, "x", previous_response_id=second.json()["id"]).status_code == 404
        assert holding(airboss.data, USER.encode()) == []


def _ready(airboss: Airboss) -> bool:
    try:
        root = airboss.ready["base_url"].removesuffix("/v1")
        return httpx2.get(f"{root}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
