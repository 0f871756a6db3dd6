"""What an evaluation would cost, by the admin API."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.console.described import assert_as_described
from tests.console.looped import LoopSite
from tests.console.test_api_eval import refused
from tests.support.seed_loop import OLD_PROMPT
from tests.support.seed_quality import dataset

PATH = "/api/v1/evals/estimate"
ORDER = {"dataset": "orders", "deployment": "support", "scorers": ["exact"], "baseline": "none"}


@pytest.fixture
def program(fresh: LoopSite) -> TestClient:
    """A program with the admin key, at a deployment and a dataset in three parts."""
    fresh.loop.apply(OLD_PROMPT)
    dataset(fresh.loop, count=40)
    return fresh.program()


def test_it_is_told_and_nothing_begins(program: TestClient, fresh: LoopSite) -> None:
    """As described: who would be asked, how often, and for how much."""
    noted = len(fresh.audit.entries)
    answer = program.post(PATH, json={**ORDER, "scorers": ["exact", "llm_judge:support"]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert_as_described(program.get("/api/openapi.json").json(), "POST", PATH, found)
    items = program.get("/api/v1/datasets/orders").json()["dataset"]["sizes"]["validation"]
    assert [(each["who"], each["calls"]) for each in found["lines"]] == [("b", items), ("judge", items)]
    assert found["calls"] == 2 * items
    assert fresh.loop.jobs.list("eval", 5) == ()
    assert len(fresh.audit.entries) == noted


def test_of_a_holdout_nobody_need_say_why(program: TestClient) -> None:
    """As nothing of it is read: no reading is written down."""
    before = program.get("/api/v1/datasets/orders").json()["readings"]
    found = program.post(PATH, json={**ORDER, "part": "holdout"}).json()
    assert (found["part"], found["read"]) == ("holdout", "validation")
    assert program.get("/api/v1/datasets/orders").json()["readings"] == before


def test_an_order_that_means_nothing_is_refused(program: TestClient) -> None:
    """As it would be when it is begun."""
    assert "did you mean" in refused(program.post(PATH, json={**ORDER, "scorers": ["exakt"]}))
    assert "no dataset is called" in refused(program.post(PATH, json={**ORDER, "dataset": "gone"}))
