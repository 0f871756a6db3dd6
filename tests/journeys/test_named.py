"""Who a rollout names gets the canary always, or never, on a whole Airboss, and is no evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.testing import FakeProvider, ScriptStep
from tests.support.airboss import Airboss
from tests.support.wait import until

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

[teams.staff]
limits = {{ requests_per_minute = 10000 }}

[deployments.support]
release = "support"
preview = {{ users = ["cy", "pat"] }}

[deployments.support.rollout]
steps = [{step}]
{named}
"""
NAMED = """
always = { users = ["ada"], teams = ["staff"], tags = { plan = ["beta", "alpha"] } }
never = { users = ["cy", "big"], keys = ["acme"], tags = { region = ["eu"] } }
"""


@pytest.fixture(scope="module")
def airboss(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """One for the module; each test has a rollout of its own, and ends it."""
    root = tmp_path_factory.mktemp("named") / "a"
    with Airboss(root, config(fake_process, "Be kind.", step=0.0001)) as running:
        yield running


@pytest.fixture(scope="module")
def keys(airboss: Airboss) -> dict[str, str]:
    """The secrets of two keys by name: one of the staff's, one of the big customer's."""
    return {
        name: json.loads(airboss.verb("keys", "create", name, *more, "--json"))["key"]
        for name, more in (("desk", ("--team", "staff")), ("acme", ()))
    }


def config(provider: FakeProvider, prompt: str, *, step: float, named: str = NAMED) -> str:
    """A rollout that draws next to nobody at 0.0001, and next to everybody at 99.9999."""
    return CONFIG.format(url=provider.url, prompt=prompt, step=step, named=named)


def newest(airboss: Airboss) -> dict[str, Any]:
    """Its last rollout."""
    found: dict[str, Any] = json.loads(airboss.verb("rollout", "status", "support", "--json").splitlines()[0])
    return found


def begin(airboss: Airboss, text: str) -> None:
    """Apply a changed release and start its rollout."""
    file = airboss.root / "changed.toml"
    file.write_text(text)
    airboss.verb("apply", str(file))
    airboss.verb("rollout", "start", "support")


def test_who_is_named_is_not_drawn(airboss: Airboss, provider: FakeProvider, keys: dict[str, str]) -> None:
    """By user, key, team and tag, streamed or not, in OpenAI's words and Anthropic's. Never goes before
    preview, and that before always; everybody else is drawn. What is applied while it runs counts at once."""

    def arms() -> dict[str, str]:
        """The arm that each gets."""
        said: dict[str, Any] = {
            "ada": airboss.chat(model="support", user="ada"),
            "ada streamed": airboss.chat(model="support", user="ada", stream=True),
            "beta": airboss.chat(model="support", user="bob", metadata={"plan": "beta"}),
            "gold": airboss.chat(model="support", user="bob", metadata={"plan": "gold"}),
            "big": airboss.chat(model="support", user="big", metadata={"plan": "beta"}),
            "eu": airboss.chat(model="support", user="ada", metadata={"region": "eu"}),
            "cy": airboss.chat(model="support", user="cy"),
            "pat": airboss.chat(model="support", user="pat", metadata={"plan": "beta"}),
            "nobody": airboss.chat(model="support"),
        }
        body: dict[str, Any] = {"model": "support", "input": "hi", "user": "bob"}
        with airboss.client() as client:
            for name, secret in keys.items():
                headers = {"authorization": f"Bearer {secret}"}
                said[name] = client.post("/responses", json=body, headers=headers)
            body = {"model": "support", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            named = {**body, "metadata": {"user_id": "ada"}}
            said["ada elsewhere"] = client.post("/messages", json=named)
        assert {each.status_code for each in said.values()} == {200}
        first = newest(airboss)
        both = {"never": first["baseline"], "stable": first["baseline"]}
        for name, each in said.items():
            arm = each.headers["x-airboss-arm"]
            assert each.headers["x-airboss-release"] == both.get(arm, first["release"]), name
        return {name: each.headers["x-airboss-arm"] for name, each in said.items()}

    begin(airboss, config(provider, "Be brief.", step=0.0001))
    always = dict.fromkeys(("ada", "ada streamed", "ada elsewhere", "beta", "desk"), "always")
    never = dict.fromkeys(("big", "eu", "cy", "acme"), "never")
    assert arms() == always | never | {"pat": "preview", "gold": "stable", "nobody": "stable"}
    file = airboss.root / "other.toml"
    named = 'always = { users = ["big"] }\nnever = { tags = { plan = ["gold"] } }'
    file.write_text(config(provider, "Be brief.", step=0.0001, named=named))
    airboss.verb("apply", str(file))
    named_now = {"big": "always", "gold": "never", "cy": "preview", "pat": "preview"}
    assert arms() == dict.fromkeys(always | never | {"nobody": ""}, "stable") | named_now
    airboss.verb("rollout", "abort", "support")
    assert {airboss.chat(model="support", user="big").headers["x-airboss-arm"]} == {"stable"}
    airboss.settled()
    found = airboss.records("--arm", "always")
    assert len(found) == 6
    assert len(airboss.records("--arm", "never")) == 5
    airboss.verb("audit", "verify")


def test_who_sees_only_errors_ends_no_rollout_and_is_told_of(
    airboss: Airboss, provider: FakeProvider, keys: dict[str, str]
) -> None:
    """What testers see is no evidence: it takes nothing back. But it is counted where the rollout is looked
    at, and the alarm for it fires."""
    provider.script(ScriptStep(behaviour="500", forever=True, model="up", holding=("BROKEN",)))
    begin(airboss, config(provider, "Be BROKEN.", step=0.0001))
    for at in range(30):
        assert airboss.chat(model="support", user="ada").status_code >= 500
        assert airboss.chat(model="support", user=f"u{at}").status_code == 200
    airboss.settled()

    def counted() -> bool:
        verdict = newest(airboss)["verdict"]
        return verdict is not None and verdict["metrics"] and verdict["metrics"][0]["stable_n"] == 30

    until(counted, timeout_s=60, every_s=0.5)
    rollout = newest(airboss)
    assert rollout["state"] == "running"
    assert rollout["apart"] == [{"arm": "always", "requests": 30, "errors": 30, "counted": 30}]
    assert "always, by name: 30 calls, 100% errors" in airboss.verb("rollout", "status", "support")

    airboss.begun_anew("controller")  # and measures at once; an alarm over an hour is else once a minute

    def firing() -> bool:
        listed = airboss.api("alarms") or {"alarms": []}
        states = {each["name"]: each["state"] for each in listed["alarms"]}
        return states.get("support.always") == "firing"

    until(firing, timeout_s=120, every_s=1)
    airboss.verb("rollout", "abort", "support")


def test_never_is_never_though_nearly_everybody_is_drawn(
    airboss: Airboss, provider: FakeProvider, keys: dict[str, str]
) -> None:
    """At a weight of nearly one, a hundred thousandth short."""
    begin(airboss, config(provider, "Be curt.", step=99.999))
    headers = {"authorization": f"Bearer {keys['acme']}"}
    seen = set()
    with airboss.client() as client:
        for at in range(20):
            body = {"model": "support", "messages": [{"role": "user", "content": "hi"}], "user": f"u{at}"}
            seen.add(client.post("/chat/completions", json=body, headers=headers).headers["x-airboss-arm"])
    assert seen == {"never"}
    assert airboss.chat(model="support", user="u1").headers["x-airboss-arm"] == "canary"
    airboss.verb("rollout", "abort", "support")
