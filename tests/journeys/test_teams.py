"""Promise: what several keys share is shared. Four workers keep to it as one would, whoever is killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.journeys.test_limits import CALLS, LIMIT, Calls, key_of, shown
from tests.support.airboss import Airboss
from tests.support.periods import within
from tests.support.valkey import ValkeyServer, valkey, valkey_process
from tests.support.wait import until

__all__ = ["valkey", "valkey_process"]

# Clients whose gateway is killed leave connections that are closed when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

TEAMS = f"""
[teams.busy]
limits = {{ requests_per_minute = {LIMIT} }}
[teams.poor]
budget = {{ usd = 0.003, per = "day" }}
[keys.busy-web]
team = "busy"
[keys.busy-mail]
team = "busy"
"""


@pytest.fixture(scope="module")
def four(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """One with four workers."""
    root = tmp_path_factory.mktemp("teams") / "a"
    with Airboss(root, fake(fake_process.url, TEAMS), "--workers", "4") as airboss:
        yield airboss


def shares_the_limit(airboss: Airboss) -> list[Calls]:
    """Floods by two keys of a team get what one of one key would."""
    keys = [key_of(airboss, name) for name in ("busy-web", "busy-mail")]
    counts = sum((calls.flood(CALLS // 3) for calls in keys), Counter[int]())
    assert abs(counts[200] - LIMIT) <= max(1, LIMIT * 0.01), counts
    assert set(counts) == {200, 429}
    return keys


def in_team(airboss: Airboss, name: str, team: str) -> Calls:
    """Calls by a new key of a team."""
    calls = key_of(airboss, name)
    airboss.verb("keys", "set", name, "--team", team)
    return calls


def team_spend(airboss: Airboss, key: str) -> Decimal:
    """What `keys list` says that the key's team has spent."""
    team = shown(airboss, key).get("team") or {"budget": {"spent_usd": "nan"}}
    return Decimal(str(team["budget"]["spent_usd"]))


def recorded(airboss: Airboss, *keys: str) -> list[Decimal]:
    """What each call of these keys cost, by its record."""
    return [
        Decimal(str(each["cost_usd"]))
        for key in keys
        for each in airboss.records("--key", key)
        if each["cost_usd"] is not None
    ]


def test_a_team_is_counted_in_valkey(
    fake_process: FakeProvider, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """By two workers; a server that has been started anew is told what the team has spent."""
    within("day")
    config = fake(fake_process.url, f'[store]\ncounters = "{valkey.url}"\n{TEAMS}')
    with Airboss(tmp_path / "a", config, "--workers", "2") as airboss:
        assert airboss.pid("counters") is None
        shares_the_limit(airboss)
        keys = [in_team(airboss, name, "poor") for name in ("web", "mail")]
        until(lambda: sum((calls.flood(60) for calls in keys), Counter[int]())[200] == 0, timeout_s=60)
        airboss.settled()
        until(lambda: team_spend(airboss, "web") >= Decimal("0.003"), timeout_s=60)
        valkey.restart()
        until(lambda: keys[0].chat().status_code == 429)
        assert [calls.chat().status_code for calls in keys * 5] == [429] * 10


def test_keys_of_a_team_get_the_limit_of_one_worker(four: Airboss) -> None:
    """By four workers; with whoever counts killed in the middle, the team still gets no more."""
    keys = shares_the_limit(four)
    used = {"what": "requests", "limit": LIMIT}
    until(lambda: shown(four, "busy-mail")["team"]["limits"][0].items() >= used.items())
    four.begun_anew("counters")
    assert keys[0].flood(100)[200] <= LIMIT * 0.01 + 1
    # A worker that has not found the new owner yet says 503.
    until(lambda: {keys[1].chat().status_code for _ in range(20)} == {429})
    refused = keys[0].chat()
    assert "team 'busy' has had" in refused.json()["error"]["message"]
    assert "busy-mail" not in refused.text + str(refused.headers)


def test_a_teams_spend_is_the_sum_of_records_whoever_is_killed(four: Airboss) -> None:
    """Its budget is overspent by the calls under way at most, through kills of workers, of the controller and
    of who counts; a key that leaves takes what it spent along, and one that is revoked does not."""
    within("day")
    web, mail = in_team(four, "web", "poor"), in_team(four, "mail", "poor")
    until(lambda: all(shown(four, name).get("team") for name in ("web", "mail")))
    web.flood(10)
    four.begun_anew("gateway-1")
    mail.flood(10)
    with web.under_way(2):
        four.begun_anew("controller")
        four.begun_anew("gateway-2")
    mail.cut_short()
    four.begun_anew("counters")
    until(lambda: web.chat().status_code in {200, 429})
    for calls in (web, mail):
        while (more := calls.flood(60))[200] + more[503]:
            pass
    for calls, other in ((web, "mail"), (mail, "'web'")):
        answer = calls.chat()
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (429, "budget_exceeded")
        assert error["message"].startswith("team 'poor' has spent 0.00")
        assert other not in answer.text
    four.settled()
    costs = recorded(four, "web", "mail")
    spent = sum(costs, Decimal(0))
    assert Decimal("0.003") <= spent <= Decimal("0.003") + 32 * max(costs), costs
    until(lambda: team_spend(four, "web") == spent)
    until(lambda: (four.api("alarms/poor.team-budget") or {}).get("alarm", {}).get("state") == "firing")
    four.verb("keys", "revoke", "mail")
    until(lambda: shown(four, "mail").get("state") == "revoked")
    assert team_spend(four, "web") == spent
    assert web.chat().status_code == 429
    late = in_team(four, "late", "poor")
    until(lambda: late.chat().status_code == 429)
    four.verb("keys", "set", "web", "--team", "none")
    until(lambda: web.chat().status_code == 200)
    four.settled()
    until(lambda: team_spend(four, "late") == sum(recorded(four, "mail", "late"), Decimal(0)))
    assert late.chat().status_code == 200
