"""A provider with `models = "*"` is asked before anything is compared or applied, and by whom that may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from airboss.config import ProviderConfig, parse_config
from tests.console.looped import LoopSite, pressed
from tests.support.seed_loop import CONFIG, OLD_PROMPT

VLLM = """
[providers.vllm]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
api_key = "env:VLLM_KEY"
models = "*"
"""
TEXT = CONFIG.replace("PROMPT", OLD_PROMPT)
EVERY = TEXT + VLLM


class Lists:
    """What the provider lists now; `asked` is where it was asked."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] | str = ("llama", "qwen")
        self.asked: list[str | None] = []

    def __call__(self, wanted: Mapping[str, ProviderConfig]) -> dict[str, tuple[str, ...] | str]:
        """As `found.Ask`."""
        self.asked += [each.base_url for each in wanted.values()]
        return dict.fromkeys(wanted, self.names)


@pytest.fixture
def lists(fresh: LoopSite) -> Lists:
    """Of the provider of a site without one."""
    fresh.loop.rollouts.apply(TEXT, "x")
    found = Lists()
    fresh.models_of = found
    return found


def sent(site: LoopSite, text: str = EVERY, who: str = "", path: str = "") -> Any:
    """A configuration."""
    client = site.program(who) if who else site.program()  # type: ignore[arg-type]
    return client.post(f"/api/v1/config{path}", json={"config": text})


def served(site: LoopSite) -> set[str]:
    """Deployments of the plan."""
    return {each.name for each in site.loop.plan().deployments}


def test_what_is_listed_is_served_until_it_is_applied_again(fresh: LoopSite, lists: Lists) -> None:
    """Whatever the provider lists meanwhile; then it says what has come and gone."""
    done = sent(fresh)
    assert done.status_code == 200, done.text
    (found,) = done.json()["found"]
    assert (found["models"], found["added"]) == (["llama", "qwen"], ["llama", "qwen"])
    assert {"llama", "qwen"} <= served(fresh)
    lists.names = ("llama", "phi")
    in_force = fresh.loop.ledger.config() or ""
    assert sent(fresh, in_force).json()["found"][0]["models"] == ["llama", "qwen"]
    assert "qwen" in served(fresh)
    assert lists.asked == ["http://127.0.0.1:9/v1"]
    compared = sent(fresh, path="/diff").json()
    assert compared["found"] == [
        {"provider": "vllm", "models": ["llama", "phi"], "added": ["phi"], "removed": ["qwen"]}
    ]
    assert [each["path"] for each in compared["changes"]] == ["providers.vllm.models_found"]
    assert "qwen" in served(fresh)
    assert sent(fresh).status_code == 200
    assert "phi" in served(fresh)
    assert "qwen" not in served(fresh)


def test_a_list_that_cannot_be_had_changes_nothing(fresh: LoopSite, lists: Lists) -> None:
    """And says why, with the line."""
    before, lists.names = fresh.loop.ledger.config(), "127.0.0.1 cannot be asked what it has: ConnectError"
    refused = sent(fresh)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "invalid_config"
    assert "127.0.0.1 cannot be asked what it has" in refused.json()["error"]["message"]
    assert fresh.loop.ledger.config() == before


def test_a_key_goes_to_nobody_new_without_an_admin(fresh: LoopSite, lists: Lists) -> None:
    """A comparison by an operator, or by an admin whose changes wait, asks only whom the plan asks."""
    for path in ("", "/diff"):
        refused = sent(fresh, who="operator", path=path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_asked")
    assert not lists.asked
    assert sent(fresh, who="admin").status_code == 200
    assert sent(fresh, who="operator", path="/diff").status_code == 200
    assert len(lists.asked) == 2
    waits = f"{EVERY}[approvals]\nrequired = true\n"
    assert sent(fresh, waits).status_code == 200
    elsewhere = waits.replace("127.0.0.1:9", "127.0.0.1:8")
    refused = sent(fresh, elsewhere, who="admin")
    assert refused.json()["error"]["code"] == "not_asked"
    assert len(lists.asked) == 3
    lists.names = ("llama", "phi")
    waiting = sent(fresh, waits, who="admin")
    assert waiting.status_code == 202
    lists.names = ("other",)
    number = waiting.json()["proposal"]
    shown = fresh.program().get(f"/api/v1/approvals/{number}").json()
    assert [each["after"] for each in shown["changes"]] == [["llama", "phi"]]
    assert fresh.program().post(f"/api/v1/approvals/{number}/approve", json={}).status_code == 200
    assert parse_config(fresh.loop.ledger.config() or "", source="x").providers["vllm"].models_found == (
        "llama",
        "phi",
    )


def test_what_a_page_compared_is_what_it_applies(fresh: LoopSite, lists: Lists) -> None:
    """The form then holds what was found."""
    admin, plan = fresh.person("admin"), str(fresh.loop.plan().number)
    compared = pressed(admin, "/system/configuration/compare", text=EVERY, plan=plan)
    assert compared.status_code == 200
    assert "models_found" in compared.text
    lists.names = "nobody is there"
    refused = pressed(admin, "/system/configuration/compare", text=EVERY, plan=plan)
    assert "nobody is there" in refused.text
