"""What changed is marked where it happened, however long ago that is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from airboss.domain.plan import ServingPlan
from tests.console.governed import Governed, governed
from tests.console.site import NOW
from tests.support.seed_records import seed_plan

HOUR = timedelta(hours=1)


def marked(site: Governed, **asked: Any) -> list[dict[str, Any]]:
    """The marks of a period, by the API."""
    params = {name: str(value) for name, value in asked.items()}
    answer = site.program().get("/api/v1/usage", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["marks"]
    return found


def test_an_old_period_has_its_marks_whatever_was_applied_since(tmp_path: Path) -> None:
    """Hundreds of configurations later, those of then stand on the charts of then."""
    with governed(tmp_path) as site:
        begin = NOW - timedelta(days=20)
        for hour in range(90):
            site.audit.append(
                "config.apply",
                actor="x",
                subject="airboss.toml",
                detail={"plan": hour},
                at=begin + hour * HOUR,
            )
        found = marked(site, since=begin.isoformat(), until=(begin + 3 * HOUR).isoformat())
        assert [each["words"] for each in found if each["kind"] == "config"] == ["plan 0", "plan 1", "plan 2"]


def test_a_deployment_is_marked_with_its_own_releases(tmp_path: Path) -> None:
    """What another one serves from then on is no news to it; of all together, everything is."""
    with governed(tmp_path) as site:
        at = NOW - 2 * HOUR
        plan = renewed(seed_plan(at), "summarize")
        site.ledger.publish("", plan)
        asked = {"since": (at - HOUR).isoformat(), "until": (at + HOUR).isoformat()}
        everything = [each["words"] for each in marked(site, **asked)]
        assert everything == ["release anew"]
        assert marked(site, **asked, deployment="support") == []
        assert [each["words"] for each in marked(site, **asked, deployment="summarize")] == everything


def renewed(plan: ServingPlan, deployment: str) -> ServingPlan:
    """A plan in which one deployment has another release."""
    return msgspec.structs.replace(
        plan,
        deployments=tuple(
            msgspec.structs.replace(
                each, stable=msgspec.structs.replace(each.stable, digest="e" * 64, name="anew")
            )
            if each.name == deployment
            else each
            for each in plan.deployments
        ),
    )
