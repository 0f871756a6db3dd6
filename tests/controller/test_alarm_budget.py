"""A key's budget has an alarm, which tells before calls are refused."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import msgspec

from airboss.config import AlarmConfig
from airboss.controller.alarm_measures import BudgetUse
from airboss.domain.plan import Budget
from tests.controller.test_alarm_watch import WELL, Watched


def test_a_budget_that_is_nearly_spent_is_told_until_the_next_begins(tmp_path: Path) -> None:
    """Also while the record store is away; without the key there is nothing to measure."""
    watched = Watched(tmp_path)
    watched.alarms = {"errors": AlarmConfig(kind="budget", key="app", hold="0s", notify=("ops",))}
    watched.journal = msgspec.structs.replace(WELL, store_up=False)

    def spent(usd: str) -> None:
        watched.budgets = {
            "app": BudgetUse(budget=Budget(usd=Decimal(20), per="day"), spent_usd=Decimal(usd))
        }

    spent("16")
    assert (watched.tick().phase, watched.tick().value) == ("ok", 0.8)
    spent("17.5")
    assert watched.tick().phase == "firing"
    (note,) = watched.store.notifications("errors", limit=9)
    assert "of the budget of key app 88 % is spent; the alarm is for over 80 %" in note.body["text"]
    assert "($17.50 of $20.00 today; it begins anew on 2026-11-02 UTC)" in note.body["text"]
    assert (note.body["key"], note.body["deployment"]) == ("app", "")
    assert re.search(r"/records\?key=app&since=.*&sort=costliest$", note.body["link"])
    spent("0")
    assert watched.tick().phase == "resolved"
    assert watched.told == [("ops", "firing"), ("ops", "resolved")]
    watched.budgets = {}
    row = [watched.tick(40.0), watched.tick()][1]
    assert (row.phase, row.why) == ("no_data", "there is no key 'app' with a budget")
    watched.store.close()


def test_a_teams_budget_is_told_as_a_keys_is(tmp_path: Path) -> None:
    """Of the team, and not of a key of its name; the link leads to what each key of each team spent."""
    watched = Watched(tmp_path)
    watched.alarms = {"errors": AlarmConfig(kind="budget", team="ops", hold="0s", notify=("ops",))}
    use = BudgetUse(budget=Budget(usd=Decimal(20)), spent_usd=Decimal(17))
    watched.budgets = {"ops": msgspec.structs.replace(use, spent_usd=Decimal(1)), "team/ops": use}
    row = watched.tick()
    assert (row.phase, row.value, row.records) == ("firing", 0.85, ())
    (note,) = watched.store.notifications("errors", limit=9)
    assert "of the budget of team ops 85 % is spent; the alarm is for over 80 %" in note.body["text"]
    assert (note.body["team"], note.body["key"]) == ("ops", "")
    assert note.body["link"].endswith("/explore?group_by=team%2Ckey&metric=cost_usd&range=30d")
    del watched.budgets["team/ops"]
    row = [watched.tick(40.0), watched.tick()][1]
    assert row.why == "there is no team 'ops' with a budget"
    watched.store.close()


def test_a_tags_budget_is_told_for_the_value_that_spent_most(tmp_path: Path) -> None:
    """The link leads to what each spent; which it is stands nowhere, as it would outlast an erasure."""
    watched = Watched(tmp_path)
    watched.alarms = {"errors": AlarmConfig(kind="budget", tag="project", hold="0s", notify=("ops",))}
    use = BudgetUse(budget=Budget(usd=Decimal(20)), spent_usd=Decimal(17))
    watched.budgets = {"project": msgspec.structs.replace(use, spent_usd=Decimal(1)), "tag/project": use}
    row = watched.tick()
    assert (row.phase, row.value, row.records) == ("firing", 0.85, ())
    (note,) = watched.store.notifications("errors", limit=9)
    assert (
        "of the budget of a value of tag project 85 % is spent; the alarm is for over 80 %"
        in note.body["text"]
    )
    assert "(the one that spent most: $17.00 of $20.00 this month; " in note.body["text"]
    assert (note.body["tag"], note.body["team"], note.body["key"]) == ("project", "", "")
    assert note.body["link"].endswith("/explore?group_by=tag%3Aproject&metric=cost_usd&range=30d")
    del watched.budgets["tag/project"]
    row = [watched.tick(40.0), watched.tick()][1]
    assert row.why == "there is no tag 'project' with a budget"
    watched.store.close()
