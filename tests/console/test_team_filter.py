"""Records and usage narrowed down to a team: to the keys that are in it now."""

from __future__ import annotations

import pytest

from airboss.domain.ports import ApiKey
from airboss.governance.keys import hash_key
from tests.console.looped import LoopSite
from tests.console.site import put, sample
from tests.console.test_pages import hrefs, shown
from tests.support.kept_keys import put_key
from tests.support.seed_loop import CONFIG, END, OLD_PROMPT

TEAMS = "\n[teams.research]\nbudget = { usd = 20 }\n[teams.empty]\nbudget = { usd = 20 }\n"

RECORD = "01931f2a-0000-7000-8000-00000000000"


@pytest.fixture
def site(fresh: LoopSite) -> LoopSite:
    """Two keys of a team, and one of none, with a call each."""
    fresh.loop.apply(OLD_PROMPT, text=CONFIG + TEAMS)
    for number, (name, team) in enumerate((("ann", "research"), ("bob", "research"), ("eve", None))):
        fields = {"sha256": hash_key(name), "created_at": END, "deployments": None, "given": None}
        put_key(fresh.loop.ledger, ApiKey(name=name, team=team, **fields))  # type: ignore[arg-type]
        put(fresh.loop.log, sample(id=f"{RECORD}{number}", key=name, started_at=END))
    return fresh


def test_records_of_a_team_are_those_of_its_keys(site: LoopSite) -> None:
    """In the API and on the page, whose form offers the teams; of a team without keys there are none."""
    program = site.program()

    def keys(**asked: str) -> list[str]:
        found = program.get("/api/v1/records", params=asked).json()["records"]
        return sorted(each["key"] for each in found)

    assert keys() == ["ann", "bob", "eve"]
    assert keys(team="research") == ["ann", "bob"]
    assert keys(team="research", key="bob") == ["bob"]
    assert keys(team="empty") == []
    page = shown(site.person(), "/records?team=research")
    assert "2 records match" in page.text
    text = site.person().get("/records?team=research").text
    assert "<option selected>research</option>" in text
    assert "<option>empty</option>" in text


def test_usage_of_a_team_leads_to_its_calls(site: LoopSite) -> None:
    """By team each row is a link, which it was not."""
    params = {"since": "2026-11-24T00:00:00Z", "until": "2026-11-25T00:00:00Z", "group_by": "key"}
    found = site.program().get("/api/v1/usage", params=params | {"team": "research"}).json()["rows"]
    assert sorted(each["group"][0] for each in found) == ["ann", "bob"]
    page = shown(
        site.person(), "/explore?group_by=team&since=2026-11-24T00:00:00Z&until=2026-11-25T00:00:00Z"
    )
    assert [each for each in hrefs(page) if each.startswith("/records?") and "team=research" in each]


@pytest.mark.parametrize("path", ["/api/v1/records", "/api/v1/usage", "/api/v1/transfer"])
def test_a_team_that_there_is_not_is_told(site: LoopSite, path: str) -> None:
    """It must not look like one that asked nothing; and nobody sends the names of keys himself."""
    told = site.program().get(path, params={"team": "reserch"})
    assert told.status_code == 400
    assert "there is no team 'reserch'; did you mean \"research\"?" in told.json()["error"]["message"]
    assert site.program().get(path, params={"keys": "ann,bob"}).status_code == 400
