"""What is changed and the audit log's leaf of it are one: where the leaf cannot be written, nothing is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from airboss.domain.errors import SetupError
from airboss.governance.audit import Sealer
from airboss.governance.checkpoint import Signer
from airboss.governance.erasure import Forgetting
from airboss.store.audit import SqlAuditLog
from airboss.store.erasures import SqlErasures
from airboss.store.views import SqlViewStore
from tests.console.looped import LoopSite, opened
from tests.support.seed_loop import CONFIG, OLD_PROMPT, WORDY_PROMPT

JSONL = "\n".join(f'{{"input": "Say {number}", "expected": "{number}"}}' for number in range(40))
EVAL = {"dataset": "smoke", "deployment": "support", "scorers": ["exact"]}


class Refuses(SqlAuditLog):
    """An audit log that takes leaves until it is told not to."""

    full = False

    def append(self, *given: Any, **named: Any) -> int:
        """As `AuditLog.append`."""
        made = super().append(*given, **named)
        if self.full:
            raise SetupError("the ledger cannot be used: database or disk is full")
        return made


class House:
    """A console with a key, a view, a dataset and a job in it; `ledger` is its file."""

    def __init__(self, site: LoopSite) -> None:
        url = site.loop.data.ledger_url
        self.ledger = url.removeprefix("sqlite:///")
        self.audit = site.audit = Refuses(url, Sealer(Signer("ab_" + "s" * 43)))
        self.views = site.views = SqlViewStore(url)
        self.erasures = SqlErasures(url)
        site.people = Forgetting(self.erasures, "key")
        site.loop.apply(OLD_PROMPT)
        site.loop.clock.at += timedelta(hours=1)
        self.program: TestClient = site.program()
        for path, body in (
            ("keys", {"name": "team-a"}),
            ("views", {"name": "mine", "url": "/records?status=error"}),
            ("datasets", {"name": "smoke", "jsonl": JSONL}),
            ("evals", EVAL),
            ("alarms/errors/silence", {"for": "2h", "reason": "known"}),
        ):
            answer = self.post(path, body)
            assert answer.status_code == 200, answer.text
        self.job = self.program.get("/api/v1/jobs").json()["jobs"][0]["id"]

    def post(self, path: str, body: object) -> Any:
        """The answer of a route that changes something."""
        return self.program.post(f"/api/v1/{path.replace('JOB', getattr(self, 'job', ''))}", json=body)

    def kept(self) -> list[str]:
        """All that the ledger has."""
        connection = sqlite3.connect(self.ledger)
        found = list(connection.iterdump())
        connection.close()
        return found

    def close(self) -> None:
        """Give everything back."""
        for each in (self.audit, self.views, self.erasures):
            each.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One console for all."""
    with opened(tmp_path_factory.mktemp("whole")) as site:
        made = House(site)
        yield made
        made.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keys", {"name": "team-b"}),
        ("keys/team-a/set", {"deployments": ["support"]}),
        ("keys/team-a/rotate", {}),
        ("keys/team-a/revoke", {}),
        ("views", {"name": "theirs", "url": "/records?status=ok"}),
        ("views/mine/delete", {}),
        ("datasets", {"name": "other", "jsonl": JSONL}),
        ("datasets/smoke/holdout", {"why": "to see"}),
        ("datasets/smoke/add", {"jsonl": '{"input": "Say more"}'}),
        ("datasets/smoke/change", {"jsonl": '{"input": "Say 7", "expected": "More."}'}),
        ("datasets/smoke/delete", {}),
        ("evals", EVAL),
        ("jobs/JOB/cancel", {}),
        ("alarms/errors/silence", {"for": "3h", "reason": "longer"}),
        ("alarms/errors/silence", {"for": "", "reason": ""}),
        ("alarms/errors/test", {}),
        ("drift/support/accept", {}),
        ("erasures", {"user": "ada"}),
        ("rollouts", {"deployment": "support", "release": "rewrite"}),
        ("config", {"config": CONFIG.replace("PROMPT", WORDY_PROMPT), "source": "airboss.toml"}),
    ],
)
def test_where_the_leaf_cannot_be_written_nothing_is(house: House, path: str, body: object) -> None:
    """The answer says so, and the ledger is as it was: the same again, once there is room, changes it."""
    before = house.kept()
    house.audit.full = True
    answer = house.post(path, body)
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "setup_error"
    assert house.kept() == before
    house.audit.full = False
