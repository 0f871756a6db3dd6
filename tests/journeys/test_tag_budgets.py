"""Budgets of each value of a tag, at a running Airboss with several workers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.files import holding
from tests.support.flood import Flood
from tests.support.periods import within
from tests.support.valkey import ValkeyServer, valkey, valkey_process
from tests.support.wait import until

__all__ = ["valkey", "valkey_process"]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

TAGS = '[tags.project]\nbudget = { usd = 0.002, per = "day" }\n'
MOST = Decimal("0.002")
APOLLO: dict[str, Any] = {"metadata": {"project": "apollo"}}


def flood(airboss: Airboss, calls: int, **members: Any) -> Any:
    """So many short calls, by status."""
    base_url, key = airboss.ready["base_url"], airboss.ready["api_key"]
    given: dict[str, Any] = {"content": 'fake:{"words": 3}', **members}
    return Flood(base_url, key, **given).run(rate=200, seconds=calls / 200).statuses


def status(airboss: Airboss, **members: Any) -> int:
    """Of one call."""
    return airboss.chat('fake:{"words": 3}', model="support", **members).status_code


def spent(airboss: Airboss, project: str) -> Decimal:
    """By the records."""
    records = airboss.records("--tag", f"project={project}")
    return sum(
        (Decimal(str(each["cost_usd"])) for each in records if each["cost_usd"] is not None), Decimal(0)
    )


def shown(airboss: Airboss) -> dict[str, Decimal]:
    """What `airboss keys tags` says."""
    (tag,) = map(json.loads, airboss.verb("keys", "tags", "--json").splitlines())
    assert (tag["name"], Decimal(str(tag["usd"])), tag["per"]) == ("project", MOST, "day")
    return {each["value"]: Decimal(str(each["spent_usd"])) for each in tag["values"]}


def fires(airboss: Airboss) -> bool:
    """Whether the alarm of the budget does."""
    found = airboss.api("alarms/project.tag-budget") or {"alarm": {"state": None}}
    return bool(found["alarm"]["state"] == "firing")


def summed(airboss: Airboss) -> Decimal:
    """What values have spent by the sums that gateways read, made of records now and then."""
    with closing(sqlite3.connect(airboss.data / "ledger.db")) as ledger:
        return sum((Decimal(usd) for (usd,) in ledger.execute("SELECT usd FROM user_spends")), Decimal(0))


def test_each_value_spends_its_own_whoever_is_killed(fake_process: FakeProvider, tmp_path: Path) -> None:
    """And no more, through kills of a worker, the controller and who counts; what is shown is what records
    say, other values and calls without the tag go on."""
    within("day")
    with Airboss(tmp_path / "a", fake(fake_process.url, TAGS), "--workers", "2") as airboss:
        flood(airboss, 10, **APOLLO)
        for name in ("gateway-1", "controller", "counters"):
            airboss.begun_anew(name)
            until(lambda: status(airboss, **APOLLO) in {200, 429})
        while (more := flood(airboss, 60, **APOLLO))[200] + more[503]:
            pass
        answer = airboss.chat(model="support", **APOLLO)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (
            429,
            "budget_exceeded",
            "insufficient_quota",
        )
        assert error["message"].startswith("the value of tag 'project' has spent 0.00")
        assert status(airboss, metadata={"project": "gemini"}) == 200
        assert status(airboss) == 200
        until(lambda: run_airboss("status", cwd=airboss.root).returncode == 0)
        airboss.settled()
        records = airboss.records("--tag", "project=apollo")
        dearest = max(Decimal(str(each["cost_usd"])) for each in records if each["cost_usd"] is not None)
        assert MOST <= spent(airboss, "apollo") <= MOST + 16 * dearest
        found = shown(airboss)
        assert found == {name: spent(airboss, name) for name in ("apollo", "gemini")}
        assert "apollo" in airboss.verb("keys", "tags")
        until(lambda: fires(airboss))
        assert "apollo" not in json.dumps(airboss.api("alarms/project.tag-budget"))
        assert not holding(airboss.data / "counters", b"apollo")
        file = airboss.root / "airboss.toml"
        file.write_text(fake(fake_process.url, TAGS.replace("0.002", "1")))
        airboss.verb("apply", "airboss.toml")
        until(lambda: status(airboss, **APOLLO) == 200)


def test_a_valkey_that_forgot_all_is_told_again(
    fake_process: FakeProvider, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """With the workers that knew it: what records say of a value counts from its first call on."""
    within("day")
    config = fake(fake_process.url, f'[store]\ncounters = "{valkey.url}"\n{TAGS}')
    with Airboss(tmp_path / "a", config, "--workers", "2") as airboss:
        until(lambda: flood(airboss, 60, **APOLLO)[200] == 0, timeout_s=60)
        airboss.settled()
        until(lambda: summed(airboss) >= MOST, timeout_s=60)
        for name in ("gateway-0", "gateway-1"):
            airboss.begun_anew(name)
        valkey.restart()
        until(lambda: status(airboss, **APOLLO) in {200, 429})
        assert [status(airboss, **APOLLO) for _ in range(10)] == [429] * 10
        assert status(airboss, metadata={"project": "gemini"}) == 200
