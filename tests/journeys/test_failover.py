"""A whole Airboss whose provider fails: who answers is in records, metrics and on the Providers page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from airboss.testing import FakeProvider, ScriptStep
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

CONFIG = """
[providers.main]
kind = "openai-compatible"
targets = [{{ base_url = "{one}", weight = 3 }}, {{ base_url = "{two}" }}]

[providers.spare]
kind = "anthropic"
base_url = "{spare}"

[models.big]
provider = "main"
model = "up"

[models.backup]
provider = "spare"
model = "claude-sonnet-4-5"

[releases.support]
model = "big"
fallbacks = ["backup"]

[deployments.support]
release = "support"
timeout = {{ total_s = 60, first_token_s = 30, idle_s = 30 }}
retry = {{ attempts = 2 }}
"""

DRAWS = 120
"""Of so many calls the lighter place gets some, and fewer than the other; of forty, now and then not."""


@pytest.fixture
def spare() -> Iterator[FakeProvider]:
    """The fallback's provider."""
    with FakeProvider(default="ok;text=The spare answers.") as running:
        yield running


def test_a_provider_fails_and_comes_back(provider: FakeProvider, spare: FakeProvider, tmp_path: Path) -> None:
    """Its two places share calls by weight; while both fail the fallback answers and is named; the page shows
    open breakers, its button asks a model, and everything returns."""
    with FakeProvider() as other:
        config = CONFIG.format(one=provider.url, two=other.url, spare=spare.url)
        with Airboss(tmp_path / "a", config) as airboss:
            for _ in range(DRAWS):
                assert "x-airboss-fallback" not in airboss.chat(model="support").headers
            assert provider.stats().requests > other.stats().requests > 0
            for each in (provider, other):
                each.script(ScriptStep(behaviour="503", forever=True))
            answers = [airboss.chat(model="support") for _ in range(12)]
            assert {each.json()["choices"][0]["message"]["content"] for each in answers} == {
                "The spare answers."
            }
            assert {each.headers["x-airboss-fallback"] for each in answers} == {"spare/claude-sonnet-4-5"}
            _look(airboss)
            for each in (provider, other):
                each.script()
            until(lambda: "x-airboss-fallback" not in airboss.chat(model="support").headers)
            airboss.settled()
            records = airboss.records()
            fell_back = [each for each in records if each["error_type"] == "answered_by_fallback"]
            assert len(fell_back) >= 12
            assert {(each["status"], each["provider"], each["model"]) for each in fell_back} == {
                ("ok", "spare", "claude-sonnet-4-5")
            }


def test_what_a_providers_filter_refuses_is_answered_elsewhere_if_asked_for(
    provider: FakeProvider, spare: FakeProvider, tmp_path: Path
) -> None:
    """Not before the release says so; which is another release, and shown as such."""
    config = CONFIG.format(one=provider.url, two=provider.url, spare=spare.url)
    provider.script(ScriptStep(behaviour="content-filter", forever=True))
    with Airboss(tmp_path / "a", config) as airboss:
        told = airboss.chat(model="support")
        assert (told.status_code, told.json()["error"]["code"]) == (400, "content_filter")
        changed = tmp_path / "changed.toml"
        fallbacks = 'fallbacks = ["backup"]'
        changed.write_text(config.replace(fallbacks, f"{fallbacks}\nfallbacks_when_filtered = true"))
        assert "fallbacks_when_filtered" in airboss.verb("apply", str(changed))
        answer = until(
            lambda: said if (said := airboss.chat(model="support")).status_code == 200 else None, timeout_s=10
        )
        assert answer.json()["choices"][0]["message"]["content"] == "The spare answers."
        assert answer.headers["x-airboss-fallback"] == "spare/claude-sonnet-4-5"
        assert answer.headers["x-airboss-release"] != told.headers["x-airboss-release"]
        shown = airboss.verb("release", "show", answer.headers["x-airboss-release"])
        assert "spare/claude-sonnet-4-5, also for what a filter refuses" in shown
        assert "fallbacks_when_filtered = true" in airboss.verb("export")


def _look(airboss: Airboss) -> None:
    """The page, its button and the metrics while the provider is down."""
    console = airboss.ready["console_url"].rstrip("/")
    with httpx2.Client(base_url=console, headers={"origin": console}, timeout=20) as client:
        client.post("/login", data={"key": airboss.ready["admin_key"]})

        def page() -> str:
            return str(client.get("/system/providers").text)

        shown = until(lambda: text if "open</span>" in (text := page()) else None)
        assert "upstream_unavailable" in shown
        assert "fallback of support" in shown
        asked = client.post(
            "/system/providers/test",
            data={"provider": "spare", "model": "claude-sonnet-4-5", "back": "/system/providers"},
        )
        where = asked.headers["location"]
        assert where.startswith("/playground?play=")
        until(lambda: "The spare answers." in client.get(where).text)
    api = httpx2.Client(headers={"authorization": f"Bearer {airboss.ready['admin_key']}"}, base_url=console)
    with api:
        targets = api.get("/api/v1/providers").json()["targets"]
    failing = [each for each in targets if each["provider"] == "main" and each["breaker"] != "closed"]
    assert {each["last_failure"] for each in failing} == {"upstream_unavailable"}
    assert all(each["failures"]["upstream_unavailable"] >= 5 for each in failing)
    told = airboss.status()["breakers"]
    assert {(each["provider"], each["model"], each["last_failure"]) for each in told} == {
        ("main", "up", "upstream_unavailable")
    }
    # On a busy machine the record store may be late for once; `status` then ends with 1.
    shown = run_airboss("status", "--data-dir", str(airboss.data), cwd=airboss.root).stdout
    assert "breaker" in shown
    assert "upstream_unavailable" in shown
    metrics = httpx2.get(airboss.ready["base_url"].replace("/v1", "/metrics")).text
    assert re.search(r'airboss_target_state\{[^}]*provider="main"[^}]*\} [12]\.0', metrics)
