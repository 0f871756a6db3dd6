"""Tunings on pages: what was found, and that nothing is claimed before it is."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airboss.console.scatter import scatter
from airboss.domain.release import ModelVersion, Release
from airboss.evaluations.intervals import Interval
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.exact import Exact
from airboss.releases.build import sealed
from airboss.store.jobs import SqlJobStore
from airboss.tuning.acceptance import Judgement
from airboss.tuning.board import Standing
from airboss.tuning.frontier import frontier
from airboss.tuning.plan import KIND, TuneResult, TuneTask
from tests.console.looped import pressed
from tests.console.site import NOW, Site
from tests.console.test_pages import Page, hrefs, shown

HOSTILE = '<img src=x onerror="alert(1)">\u202e'
MODEL = ModelVersion(provider="fake", kind="openai-compatible", model="up")
BASE = sealed(Release(digest="", name="base", model=MODEL, prompt="Sort."))
BEST = sealed(Release(digest="", name="base-tuned", model=MODEL, prompt=f"Sort it well. {HOSTILE}"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A console with jobs of its own."""
    made = Site(jobs=SqlJobStore(f"sqlite:///{tmp_path / 'ledger.db'}"))
    yield made
    made.jobs.close()


def interval(low: float, estimate: float, high: float) -> Interval:
    """An interval."""
    return Interval(estimate=estimate, low=low, high=high, confidence=0.95, method="t")


def standing(digest: str, score: float, tokens: float | None, **given: Any) -> Standing:
    """A candidate as the search knows it."""
    fields: dict[str, Any] = {
        "origin": "instruction",
        "form": "turns",
        "instruction": HOSTILE,
        "examples": 2,
        "n": 60,
        "unscored": 0,
        "difference": interval(0.1, 0.2, 0.3),
    }
    return Standing(release=digest, score=score, tokens_per_call=tokens, **(fields | given))


def result(**changes: Any) -> TuneResult:
    """A tuning that found something better."""
    today = standing(BASE.digest, 0.5, 40.0, difference=None, instruction=None)
    best = standing(BEST.digest, 0.9, 90.0)
    others = tuple(
        standing(f"{number:064x}", 0.3 + number / 50, 50.0 + 7 * number if number % 5 else None)
        for number in range(12)
    )
    fields: dict[str, Any] = {
        "better": True,
        "reason": f"the gain is above 0 {HOSTILE}",
        "deployment": "support",
        "dataset": "orders",
        "base": Target(deployment="support", release=BASE.digest, name="base"),
        "release": BEST,
        "proposed": "base-tuned",
        "unproposed": None,
        "today": today,
        "chosen": best,
        "judgement": Judgement(
            better=True,
            reason="better",
            alpha=0.05,
            items=120,
            shown=2,
            run="run-1",
            reads_before=1,
            before=interval(0.4, 0.5, 0.6),
            after=interval(0.8, 0.88, 0.94),
            gain=interval(0.25, 0.38, 0.5),
            p_value=0.00001,
        ),
        "frontier": frontier([today, best, *others]),
        "candidates": (best, *others),
        "tried": 31,
        "calls": 1_840,
        "budget": 2_000,
        "cost_usd": Decimal("0.31"),
        "cost_unknown": 0,
        "seed": 0,
    }
    return TuneResult(**(fields | changes))


def asked(site: Site) -> str:
    """A tuning that waits; returns its id."""
    task = TuneTask(
        deployment="support",
        dataset="d" * 64,
        dataset_name="orders",
        base=BASE,
        target=Target(deployment="support", release=BASE.digest, name=HOSTILE),
        scorer=Exact(),
        name="base-tuned",
    )
    job_id: str = site.jobs.add(KIND, task, "ada", NOW).id
    return job_id


def done(site: Site, **changes: Any) -> str:
    """A tuning that is over; returns its id."""
    job_id = asked(site)
    site.jobs.claim("me", NOW, 10.0)
    site.jobs.finish(job_id, "me", result(**changes), NOW)
    return job_id


def safe(page: Page) -> Page:
    """The page, once nothing of a hostile text acts in it."""
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "\u202e" not in page.text
    return page


def test_a_tuning_tells_what_it_found(site: Site) -> None:
    """The reason, the gain with its interval, its picture, each candidate, and how to go on."""
    job_id = done(site)
    person = site.person()
    assert f"/tuning/{job_id}" in hrefs(safe(shown(person, "/tuning")))
    page = safe(shown(person, f"/tuning/{job_id}"))
    for words in ("Better", "+0.38 (+0.25 to +0.5)", "0.900", "120", "1,840", "of 2,000", "base-tuned"):
        assert words in page.text.replace("\u00a0", " "), words
    assert "airboss rollout start support --release base-tuned" in page.text
    assert "/deployments/support/rollout/start" in page.values("action")
    assert BEST.digest in page.values("value")
    assert len([each for each in page.values("class") if each.startswith("interval ")]) == 1
    assert len([each for tag, each in page.tags if tag == "circle" and each.get("cx") != "50%"]) >= 11
    for href in hrefs(page):
        assert person.get(href).status_code in {200, 303} or href.startswith("#"), href


def test_what_everybody_gets_by_now_is_not_said_to_wait(site: Site) -> None:
    """Its release was promoted since: there is nothing to start, and no command that would."""
    assert site.ledger.served is not None
    (stable,) = [each.stable for each in site.ledger.served.deployments if each.name == "support"]
    page = shown(site.person(), f"/tuning/{done(site, release=stable)}")
    assert "is stable: everybody gets it" in page.text
    assert "nobody gets it before a rollout" not in page.text
    assert "rollout start" not in page.text
    assert not [each for each in page.values("action") if "rollout" in each]


def test_a_tuning_that_found_nothing_says_so(site: Site) -> None:
    """No gain, no new release, no button: the holdout stayed closed."""
    nothing = {"better": False, "release": None, "proposed": None, "chosen": None, "judgement": None}
    page = shown(site.person(), f"/tuning/{done(site, **nothing)}")
    assert "Not shown to be better" in page.text
    assert "it stayed closed" in page.text
    assert "rollout start" not in page.text
    assert not [each for each in page.values("action") if "rollout" in each]


def test_a_tuning_that_waits_claims_nothing(site: Site) -> None:
    """It can be cancelled, and says so after."""
    job_id = asked(site)
    person = site.person()
    page = safe(shown(person, f"/tuning/{job_id}"))
    assert "not begun" in page.text
    assert "Candidates" not in page.text
    assert pressed(person, f"/jobs/{job_id}/cancel", back=f"/tuning/{job_id}", job=job_id).is_redirect
    assert "It was cancelled" in shown(person, f"/tuning/{job_id}").text
    assert person.get("/tuning/none").status_code == 404


def test_no_tuning_teaches(site: Site) -> None:
    """One sentence, one command."""
    page = shown(site.person(), "/tuning")
    assert "airboss tune run" in page.text
    assert "teach" in page.values("class")


def test_the_scatter_stands_on_whole_axes() -> None:
    """Scores on 0 to 1, tokens from 0; the line joins the frontier from left to right and rises; without
    tokens there is no picture."""
    found = result()
    every = [found.today, *found.candidates]
    ends = [each.release for each in found.frontier]
    picture = scatter(every, today=found.today.release, chosen=BEST.digest, frontier=ends)
    assert picture is not None
    by_digest = {each.standing.release: each for each in picture.points}
    assert by_digest[BEST.digest].top == pytest.approx(10.0)
    assert by_digest[BASE.digest].top == pytest.approx(50.0)
    ratio = by_digest[BASE.digest].left / by_digest[BEST.digest].left
    assert ratio == pytest.approx(40 / 90, abs=0.01)
    assert picture.untold == len([each for each in every if each.tokens_per_call is None]) == 3
    assert len(picture.line) == len(ends) - 1 > 0
    assert all(each.x1 < each.x2 and each.y1 > each.y2 for each in picture.line)
    assert scatter([standing("a", 0.5, None)], today="a", chosen=None, frontier=[]) is None
