"""Probes in the admin API: as described, noted in the audit log, and a report once they are done."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from airboss.console import api, api_probe
from airboss.domain.ports import Ledger
from airboss.evaluations.bias_orders import ProbeOrders
from airboss.evaluations.bias_plan import ProbeReport
from airboss.store.jobs import SqlJobStore
from tests.console.described import assert_as_described
from tests.console.site import NOW, Site
from tests.console.test_forest import finding
from tests.evaluations.serving import NEW, OLD, FixedLedger, deployment, plan, standing

ORDER = {"deployment": "support", "attributes": ["gender"], "calls": 90}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A console with jobs of its own and a deployment served."""
    made = Site(jobs=SqlJobStore(f"sqlite:///{tmp_path / 'ledger.db'}"))
    ledger = FixedLedger(plan(deployment("support", OLD), others=(NEW,)), standing(NEW, OLD))
    made.probes = ProbeOrders(jobs=made.jobs, ledger=cast("Ledger", ledger), now=made.clock.now)
    yield made
    made.jobs.close()


@pytest.fixture
def program(site: Site) -> TestClient:
    """A program with the admin key."""
    return site.program()


def test_the_answers_are_as_described(program: TestClient) -> None:
    """Every route answers with just the fields that the description names."""
    document = program.get("/api/openapi.json").json()
    job = program.post("/api/v1/probes", json=ORDER).json()
    assert_as_described(document, "POST", "/api/v1/probes", job)
    assert all(route in api.ROUTES for route in api_probe.ROUTES)
    for path in ("/api/v1/probes", "/api/v1/probes/{id}"):
        answer = program.get(path.replace("{id}", job["id"]))
        assert answer.status_code == 200, answer.text
        assert_as_described(document, "GET", path, answer.json())


def test_a_probe_is_queued_noted_and_shown(site: Site, program: TestClient) -> None:
    """As a job of what was asked for; its report is there once it is done."""
    job = program.post("/api/v1/probes", json=ORDER).json()
    assert (job["kind"], job["state"]) == ("probe", "queued")
    action, _, subject, detail = site.audit.entries[-1]
    assert (action, subject, detail["release"]) == ("probe.run", job["id"], OLD.digest)
    assert (detail["questions"], detail["own_prompts"]) == ({"gender": 30}, True)
    site.jobs.claim("me", NOW, 10.0)
    report = ProbeReport(
        conclusion="found",
        findings=(finding(-0.4, -0.3, -0.2, verdict="different"),),
        tests=1,
        calls=90,
        errors=0,
        first_error=None,
        input_tokens=1,
        output_tokens=1,
        cost_usd=Decimal("0.5"),
        cost_unknown=0,
        logprobs=None,
        examples=(),
    )
    site.jobs.finish(job["id"], "me", report, NOW)
    shown: Any = program.get(f"/api/v1/probes/{job['id']}").json()
    assert (shown["summary"]["conclusion"], shown["summary"]["questions"]) == ("found", {"gender": 30})
    assert shown["report"]["findings"][0]["gap"]["estimate"] == -0.3
    listed = program.get("/api/v1/probes?limit=5").json()["probes"]
    assert [(each["id"], each["state"], each["conclusion"]) for each in listed] == [
        (job["id"], "done", "found")
    ]


def test_a_wrong_order_is_a_400(site: Site, program: TestClient) -> None:
    """With the words of whoever looked it up, and nothing queued or noted; another job is no probe."""
    noted = len(site.audit.entries)
    answer = program.post("/api/v1/probes", json={**ORDER, "attributes": ["gendre"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_call")
    assert "did you mean 'gender'" in answer.json()["error"]["message"]
    assert program.post("/api/v1/probes", json={**ORDER, "cals": 1}).json()["error"]["code"] == "invalid_body"
    assert site.jobs.list() == ()
    assert len(site.audit.entries) == noted
    other = site.jobs.add("eval", {}, "ann", NOW)
    assert program.get(f"/api/v1/probes/{other.id}").status_code == 404
