"""What teams spend, in the admin API and as `airboss keys teams` shows it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from airboss.domain.plan import Budget
from airboss.domain.ports import ApiKey
from airboss.governance.keys import hash_key
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run, api, run
from tests.console.looped import LoopSite
from tests.store.samples import move_of
from tests.support.kept_keys import put_key
from tests.support.seed_loop import CONFIG, OLD_PROMPT

__all__ = ["api", "run"]

TEAMS = """
[teams.ops]
budget = { usd = 20, per = "month" }
[teams.idle]
"""


def member(name: str, **fields: Any) -> ApiKey:
    """A key of the team."""
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return ApiKey(name=name, sha256=hash_key(name), created_at=made, team="ops", given_team="ops", **fields)


@pytest.fixture
def site(fresh: LoopSite) -> LoopSite:
    """With a team of three keys, one of them revoked, whose calls began this month, and one before."""
    budget = Budget(usd=Decimal(2), per="day")
    put_key(fresh.loop.ledger, member("one", given_budget=budget, budget=budget))
    put_key(fresh.loop.ledger, member("two"))
    put_key(fresh.loop.ledger, member("was", revoked_at=fresh.loop.clock.at))
    fresh.loop.rollouts.apply(CONFIG.replace("PROMPT", OLD_PROMPT) + TEAMS, "x")
    now = fresh.loop.clock.at
    calls = [("one", "0.1", now), ("was", "0.2", now), ("one", None, now), ("else", "9", now)]
    calls.append(("one", "7", now - timedelta(days=32)))
    told: list[dict[str, Any]] = [
        {"key": key, "cost_usd": None if usd is None else Decimal(usd), "started_at": at}
        for key, usd, at in calls
    ]
    fresh.log.apply(move_of(told, 0))
    return fresh


def test_teams_say_what_their_keys_have_spent(site: LoopSite) -> None:
    """In this month, by records, also those that are revoked; a team without keys stands there too."""
    idle, ops = site.program("viewer").get("/api/v1/teams").json()["teams"]
    assert (idle["name"], idle["keys"], idle["members"], idle["requests"]) == ("idle", 0, [], 0)
    assert (ops["name"], ops["configured"], ops["keys"], ops["budget"]["usd"]) == ("ops", True, 2, 20)
    assert (Decimal(str(ops["spent_usd"])), ops["requests"], ops["cost_unknown"]) == (Decimal("0.3"), 3, 1)
    assert [(each["name"], each["state"], (each["budget"] or {}).get("usd")) for each in ops["members"]] == [
        ("one", "active", 2),
        ("two", "active", None),
        ("was", "revoked", None),
    ]


def test_a_team_that_is_written_no_more_has_spent_too(site: LoopSite) -> None:
    """As long as a key says that it is in it."""
    put_key(site.loop.ledger, msgspec.structs.replace(member("old"), team="gone", given_team="gone"))
    gone, *_ = site.program("viewer").get("/api/v1/teams").json()["teams"]
    assert (gone["name"], gone["configured"], gone["keys"], gone["budget"]) == ("gone", False, 1, None)


def test_the_table_has_a_line_a_team(site: LoopSite, run: Run, api: AdminApi) -> None:
    """With the budgets, and calls without a price apart; with --json an object a line."""
    said = site.program("viewer").get("/api/v1/teams").json()
    api.answers["GET", "/api/v1/teams"] = said
    code, out, _ = run("keys", "teams", "--url", api.url)
    assert code == 0
    head, idle, ops = (line.rstrip() for line in out.splitlines())
    assert " ".join(head.split()) == "team keys budget budgets of keys calls this month spent this month"
    assert idle.split() == ["idle", "0", "none", "none", "0", "0.00", "USD"]
    assert "of 20.00 USD a month" in ops
    assert "one: " in ops
    assert ops.endswith("0.30 USD, and 1 call without a price")
    code, out, _ = run("keys", "teams", "--json", "--url", api.url)
    assert [json.loads(line) for line in out.splitlines()] == said["teams"]
