"""Which policy binds a key, over the admin API and on pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.config import parse_config
from airboss.console.config_story import screened_otherwise
from airboss.domain.plan import Allowance
from airboss.governance.audit import read_leaf
from airboss.releases.build import policies_of
from tests.console.governed import Governed, governed, kept, post
from tests.console.looped import pressed
from tests.console.site import NOW
from tests.support.seed_records import seed_plan

CONFIG = """
[policies.strict]
pii = { action = "mask", kinds = ["email"] }
[policies.words.custom.codename]
words = ["Blue Heron"]
action = "block"
[policies.spare]
pii = { action = "observe" }
[keys.fixed]
policy = "words"
[teams.sales]
policy = "words"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """One whose configuration has policies, a team under one, and a key under one."""
    with governed(tmp_path) as made:
        config = parse_config(CONFIG, source="")
        more = {"policies": policies_of(config), "teams": {"sales": Allowance()}}
        made.ledger.publish(CONFIG, msgspec.structs.replace(seed_plan(NOW), **more))
        yield made


def noted(site: Governed) -> Any:
    """What the newest leaf of the audit log says of policies."""
    return read_leaf(site.audit.newest(limit=1)[0].leaf.content).detail.get("policies")


def test_it_is_made_kept_and_taken_away(site: Governed) -> None:
    """With the other terms, and its team's beside it; the audit log tells which hold."""
    assert post(site, "", name="app", policy="strict")[0] == 200
    assert (kept(site).policies, noted(site)) == (("strict",), ["strict"])
    status, shown = post(site, "/app/set", team="sales")
    assert (status, shown["policy"], shown["team"]["policy"]) == (200, "strict", "words")
    assert (kept(site).policies, noted(site)) == (("strict", "words"), ["strict", "words"])
    assert post(site, "/app/rotate")[0] == 200
    assert kept(site).policies == ("strict", "words")
    assert post(site, "/app/set", policy=None, team=None)[1]["policy"] is None
    assert (kept(site).policies, noted(site)) == ((), None)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (
            "",
            {"name": "app", "policy": "strikt"},
            "there is no policy 'strikt' in the configuration; did",
        ),
        ("", {"name": "app", "policy": 3}, "Expected `str | null`"),
        ("", {"name": "vera", "policy": "strict", "role": "viewer"}, "policy is about calls of models"),
        ("/fixed/set", {"policy": "strict"}, "[keys.fixed] says policy, and goes before"),
    ],
)
def test_what_means_nothing_is_refused(site: Governed, path: str, body: dict[str, Any], words: str) -> None:
    """And nothing changes."""
    post(site, "", name="fixed")
    before = site.ledger.all_keys()
    status, answer = post(site, path, **body)
    assert (status, words in answer["error"]["message"]) == (400, True), answer
    assert site.ledger.all_keys() == before


def test_the_form_says_it(site: Governed) -> None:
    """And the page of keys shows it, with the team's."""
    person = site.person("admin")
    assert pressed(person, "/governance/keys", name="app", policy="strict", team="sales").status_code == 200
    assert kept(site).policies == ("strict", "words")
    page = person.get("/governance/keys/app").text
    assert "<option selected>strict</option>" in page
    assert re.search("under policy <a [^>]*>strict</a>", page)
    assert re.search("Its policy <a [^>]*>words</a> binds the calls of each", page)
    listed = person.get("/governance/keys").text
    assert re.search("under policy <a [^>]*>strict</a>", listed)
    assert re.search("sales<div class=.hint.>under policy <a [^>]*>words</a>", listed)
    assert pressed(person, "/governance/keys/app/set", policy="").status_code == 303
    assert kept(site).policies == ("words",)
    assert pressed(person, "/governance/keys/app/set", policy="<b>").status_code == 400


def test_a_policy_says_whose_calls_it_binds(site: Governed) -> None:
    """Those of living keys, and of teams."""
    for name in ("app", "fixed", "gone"):
        post(site, "", name=name, **({} if name == "fixed" else {"policy": "strict"}))
    post(site, "/gone/revoke")
    text = re.sub("<[^>]+>", "", site.person().get("/governance").text)
    rows = re.split("(spare|strict|words)(?=observe|mask|block)", text)
    by_name = dict(zip(rows[1::2], rows[2::2], strict=True))
    assert "key app" in by_name["strict"]
    assert "gone" not in by_name["strict"]
    assert "key fixed; team sales" in by_name["words"]
    assert "nobody names it" in by_name["spare"]


def test_applying_says_whose_calls_are_screened_otherwise(site: Governed) -> None:
    """By its own policy or its team's, by another or by what that says; others are not named."""
    post(site, "", name="app", policy="strict")
    post(site, "", name="seller", team="sales")
    post(site, "", name="free")
    before = parse_config(CONFIG, source="")

    def touched(old: str, new: str) -> dict[str, str]:
        assert old in CONFIG
        after = parse_config(CONFIG.replace(old, new), source="")
        return {each.name: each.words for each in screened_otherwise(before, after, site.ledger.all_keys())}

    assert touched('["email"]', '["email", "card"]') == {
        "app": "is screened by strict, whatever it calls, at once"
    }
    assert touched('[teams.sales]\npolicy = "words"', "[teams.sales]") == {
        "seller": "is screened by nothing but the policies of what it calls, at once"
    }
    assert touched("[keys.fixed]", '[keys.free]\npolicy = "strict"\n[keys.fixed]') == {
        "free": "is screened by strict, whatever it calls, at once"
    }
    assert touched('action = "observe"', 'action = "mask"') == {}
    wanted, snapshot = CONFIG.replace('["email"]', '["card"]'), site.ledger.snapshot()
    assert snapshot is not None
    number = snapshot.plan.number
    page = pressed(site.person("admin"), "/system/configuration/compare", text=wanted, plan=str(number)).text
    assert re.search("Key <b>app</b> is screened by strict", page)
