"""Who is named gets a candidate before everybody else, on a whole Airboss, and is no evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.small]
provider = "fake"
model = "up"

[releases.support]
model = "small"
prompt = "{prompt}"

[deployments.support]
release = "support"
rollout = {{ steps = [{step}] }}
preview = {{ users = ["ada"], keys = ["staging"] }}
"""


def test_testers_get_the_candidate_first(provider: FakeProvider, tmp_path: Path) -> None:
    """By user or key, streamed or not, before a rollout and in it; nobody else does, until it is stable. One
    that was taken back they get no more, until another rollout of it."""

    def config(prompt: str, *, step: float = 0.0001) -> str:
        return CONFIG.format(url=provider.url, prompt=prompt, step=step)

    with Airboss(tmp_path / "a", config("Be kind.")) as airboss:
        staging = json.loads(airboss.verb("keys", "create", "staging", "--json"))["key"]

        def arms() -> dict[str, tuple[str, str]]:
            """The arm and release that each gets: who is named, who is not, and a key that is."""
            said: dict[str, Any] = {
                "ada": airboss.chat(model="support", user="ada"),
                "ada streamed": airboss.chat(model="support", user="ada", stream=True),
                "bob": airboss.chat(model="support", user="bob"),
                "nobody": airboss.chat(model="support"),
            }
            headers = {"authorization": f"Bearer {staging}"}
            body: dict[str, Any] = {"model": "support", "input": "hi", "user": "bob"}
            with airboss.client() as client:
                said["staging"] = client.post("/responses", json=body, headers=headers)
                body = {"model": "support", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
                named = {**body, "metadata": {"user_id": "ada"}}
                said["ada elsewhere"] = client.post("/messages", json=named)
            return {
                name: (each.headers["x-airboss-arm"], each.headers["x-airboss-release"])
                for name, each in said.items()
            }

        def is_previewed(found: dict[str, tuple[str, str]], stable: str, candidate: str) -> None:
            """Of the six the named ones have the candidate."""
            others = {"bob", "nobody"}
            assert {found[name] for name in others} == {("stable", stable)}
            assert {found[name] for name in found.keys() - others} == {("preview", candidate)}

        stable = arms()
        assert {arm for arm, _ in stable.values()} == {"stable"}
        (first,) = {release for _, release in stable.values()}
        file = airboss.root / "changed.toml"
        file.write_text(config("Be brief."))
        airboss.verb("apply", str(file))
        candidate = json.loads(airboss.verb("status", "--json"))["deployments"][0]["candidate"]
        assert candidate not in {None, first}
        is_previewed(arms(), first, candidate)
        airboss.verb("rollout", "start", "support")
        is_previewed(arms(), first, candidate)
        airboss.verb("rollout", "abort", "support")
        assert set(arms().values()) == {("stable", first)}, "what was taken back is taken back from all"
        airboss.verb("rollout", "start", "support")
        is_previewed(arms(), first, candidate)
        airboss.verb("rollout", "promote", "support")
        assert set(arms().values()) == {("stable", candidate)}
        airboss.settled()
        counted = [(each["arm"], each["user"], each["key"]) for each in airboss.records("--arm", "preview")]
        assert sorted(counted, key=str) == sorted(
            3 * [("preview", "ada", "default")] * 3 + 3 * [("preview", "bob", "staging")], key=str
        )
