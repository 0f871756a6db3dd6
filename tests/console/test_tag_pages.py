"""What values of tags have spent, in the admin API and on the page of keys."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from airboss.console import api_tags
from airboss.domain.errors import StoreUnavailable
from tests.console.looped import LoopSite
from tests.store.samples import move_of
from tests.support.seed_loop import CONFIG, OLD_PROMPT

TAGS = '\n[tags.project]\nbudget = { usd = 2, per = "day" }\n[tags.other]\nbudget = { usd = 2 }\n'


@pytest.fixture
def site(fresh: LoopSite) -> LoopSite:
    """With budgets for tags, and calls of projects today and yesterday."""
    fresh.loop.rollouts.apply(CONFIG.replace("PROMPT", OLD_PROMPT) + TAGS, "x")
    now = fresh.loop.clock.at
    today = [("apollo", "0.1", now), ("apollo", "0.2", now), ("<b>", "2.5", now), (None, "9", now)]
    today.append(("y" * 10_000, "0.01", now))
    called(fresh, *today, ("apollo", "0.7", now - timedelta(days=1)))
    return fresh


def called(site: LoopSite, *calls: tuple[Any, ...]) -> None:
    """Records of a project, a cost and a time."""
    told: list[dict[str, Any]] = [
        {"tags": {"project": project} if project else {}, "cost_usd": Decimal(usd), "started_at": at}
        for project, usd, at in calls
    ]
    site.log.apply(move_of(told, 0))


def test_values_say_what_they_have_spent(site: LoopSite) -> None:
    """In this period, by their records, the dearest first."""
    other, project = site.program("viewer").get("/api/v1/tags").json()["tags"]
    assert (other["name"], other["values"], other["more"]) == ("other", [], False)
    assert (project["usd"], project["per"]) == (2, "day")
    assert [
        (each["value"], Decimal(str(each["spent_usd"])), each["requests"]) for each in project["values"]
    ] == [
        ("<b>", Decimal("2.5"), 1),
        ("apollo", Decimal("0.3"), 2),
        ("y" * 10_000, Decimal("0.01"), 1),
    ]


def test_a_value_is_told_whole(site: LoopSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its cheapest calls too, those of a candidate, however many values there are."""
    now = site.loop.clock.at
    told = [(f"p{n}", "stable", "3") for n in range(8)] + [("p7", "canary", "0.01")]
    site.log.apply(
        move_of(
            [
                {"tags": {"project": project}, "arm": arm, "cost_usd": Decimal(usd), "started_at": now}
                for project, arm, usd in told
            ],
            6,
        )
    )
    monkeypatch.setattr(api_tags, "VALUES_MAX", 2)
    _, project = site.program("viewer").get("/api/v1/tags").json()["tags"]
    assert [(each["value"], Decimal(str(each["spent_usd"]))) for each in project["values"]] == [
        ("p7", Decimal("3.01")),
        ("p0", Decimal(3)),
    ]
    assert project["more"]


def test_the_page_of_keys_shows_them(site: LoopSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bars, and a link to the calls; a store that is away is told, and the keys are there."""
    page = site.person("viewer").get("/governance/keys").text
    assert "$0.30 of $2.00 today" in page
    assert "&lt;b&gt;" in page
    assert "tag=project%3Dapollo" in page
    assert "No call with it yet" in page
    assert "y" * 99 + "…" in page
    assert "y" * 101 not in page
    monkeypatch.setattr(api_tags, "VALUES_MAX", 1)
    assert "and more values" in site.person("viewer").get("/governance/keys").text

    def away(_asked: object) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(site.log, "usage", away)
    page = site.person("viewer").get("/governance/keys").text
    assert "the record store does not say" in page
    assert "otto" in page
    assert site.program("viewer").get("/api/v1/tags").status_code == 503


def test_who_applies_it_is_told_of_models_without_a_price(site: LoopSite) -> None:
    """Before programs that name the tag are refused there."""
    models = "".join(
        f'[models.x{n}]\nprovider = "openai"\nmodel = "mystery-{n}"\n[deployments.x{n}]\nmodel = "x{n}"\n'
        for n in range(7)
    )
    text = site.loop.ledger.config() or ""
    said = site.program().post("/api/v1/config", json={"config": text + models}).json()["warnings"]
    (told,) = [each for each in said if "tag" in each]
    assert told.startswith(
        "calls with the tag 'project' or 'other', whose values have a budget in USD, are refused at x0,"
    )
    assert "x4 and 2 more: nobody knows" in told
    assert not [
        each
        for each in site.program().post("/api/v1/config", json={"config": text}).json()["warnings"]
        if "tag" in each
    ]


def test_without_budgets_for_tags_nothing_is_asked(fresh: LoopSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the record store."""
    fresh.loop.rollouts.apply(CONFIG.replace("PROMPT", OLD_PROMPT), "x")
    monkeypatch.setattr(fresh.log, "usage", None)
    assert fresh.program("viewer").get("/api/v1/tags").json() == {"tags": []}
    assert fresh.person("viewer").get("/governance/keys").status_code == 200
