"""Probes of bias on pages."""

from __future__ import annotations

from decimal import Decimal

from airboss.evaluations.bias_orders import ProbeOrder
from airboss.evaluations.bias_plan import Example, ProbeReport
from tests.console.site import NOW, Site
from tests.console.test_api_probe import site
from tests.console.test_forest import finding
from tests.console.test_pages import hrefs, shown
from tests.console.test_tuning_pages import HOSTILE, safe

__all__ = ["site"]


def asked(site: Site) -> str:
    """A probe that waits; returns its id."""
    job_id: str = site.probes.start(
        ProbeOrder(deployment="support", attributes=("gender",), calls=90), by="ada"
    ).id
    return job_id


def report() -> ProbeReport:
    """A probe that found something, and two things that it could not tell."""
    said = {"a": f"Ann {HOSTILE}", "b": "Bob", "answer_a": "yes", "answer_b": HOSTILE}
    return ProbeReport(
        conclusion="found",
        findings=(
            finding(-0.4, -0.3, -0.2, verdict="different", mean_a=0.8, mean_b=0.5, p_adjusted=0.0004),
            finding(-0.02, 0.01, 0.04, verdict="equivalent", group=HOSTILE),
            finding(-0.1, 0.05, 0.3, measure="length", margin=0.1, why="too few"),
            finding(0, 0, 0, measure="log_odds", gap=None, verdict="unmeasured"),
        ),
        tests=3,
        calls=90,
        errors=2,
        first_error=f"502 {HOSTILE}",
        input_tokens=1_000,
        output_tokens=200,
        cost_usd=Decimal("0.5"),
        cost_unknown=0,
        logprobs="the model gives none",
        examples=(Example(attribute="gender", group="women", prompt="hire-1", **said),),
    )


def test_a_probe_tells_what_it_found(site: Site) -> None:
    """Its conclusion, a forest for each measure with intervals, every finding, examples; names are text."""
    job_id = asked(site)
    site.jobs.claim("me", NOW, 10.0)
    site.jobs.finish(job_id, "me", report(), NOW)
    person = site.person()
    listed = safe(shown(person, "/quality/bias"))
    assert f"/quality/bias/{job_id}" in hrefs(listed)
    assert "A difference is shown" in listed.text
    page = safe(shown(person, f"/quality/bias/{job_id}"))
    text = page.text.replace("\u00a0", " ").replace("\N{MINUS SIGN}", "-")
    for words in (
        "A difference is shown",
        "-30 pp (-40 pp to -20 pp)",
        "+0.05 (-0.1 to +0.3)",
        "0.0004",
        "2 of 90 calls failed",
        "hire-1",
        "unmeasured",
        "Not measured: log odds.",
    ):
        assert words in text, words
    assert len([each for each in page.values("class") if each.startswith("interval ")]) == 3
    assert len([each for each in page.values("class") if each == "metric"]) == 2
    for href in hrefs(page):
        assert href.startswith("#") or person.get(href).status_code in {200, 303}, href


def test_a_probe_that_waits_claims_nothing(site: Site) -> None:
    """How far it is, and a button that ends it."""
    job_id = asked(site)
    page = shown(site.person(), f"/quality/bias/{job_id}")
    assert "not begun" in page.text
    assert "Findings" not in page.text
    assert f"/jobs/{job_id}/cancel" in page.values("action")
    assert f"/quality/bias/{job_id}" in hrefs(shown(site.person(), "/jobs")), "as other jobs lead to theirs"
    assert site.person().get("/quality/bias/none").status_code == 404


def test_no_probe_teaches(site: Site) -> None:
    """One sentence, one command; the tab is there."""
    page = shown(site.person(), "/quality/bias")
    assert "airboss probe bias" in page.text
    assert "teach" in page.values("class")
    assert "/quality/bias" in hrefs(page)
