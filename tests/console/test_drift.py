"""Drift on its page, in the admin API and from a shell."""

from __future__ import annotations

import random
from datetime import timedelta

import msgspec
import pytest

from airboss.console.api_drift import Drifts
from airboss.evaluations import drift, drift_checks
from airboss.store.drift_rows import checks_of, features_of
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run, api, run
from tests.console.site import NOW, Site
from tests.console.test_pages import hrefs, shown
from tests.evaluations.test_drift import START, call, declining

__all__ = ["api", "run"]

CONFIG = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
[models.m]
provider = "p"
model = "m"
[deployments.support]
model = "m"
drift = { prompts = ["one", "two"] }
[deployments.quiet]
model = "m"
[deployments.off]
model = "m"
drift = { features = false }
"""


@pytest.fixture
def drifted(site: Site) -> Site:
    """`support` declines more, and answers its prompts otherwise; `quiet` has had few calls."""
    site.ledger.text = CONFIG
    rng = random.Random(1)
    state = drift.begun("support", alpha=0.01, reference=300, now=START)
    for first in range(0, 2_000, 20):
        calls = [call(rng, each, declining if each >= 1_000 else None) for each in range(first, first + 20)]
        state = drift.after(state, calls, now=calls[-1].at)
    site.views.put_drift(features_of("support"), msgspec.json.encode(state))
    checks = drift_checks.begun(["one", "two"], "d", alpha=0.01, now=START)
    for replay in range(40):
        word = "apple" if replay < 3 else "pear"
        said = {each: f"{word} {each} <b>" for each in checks.prompts}
        checks = drift_checks.after(checks, said, now=START + timedelta(hours=replay))
    site.views.put_drift(checks_of("support"), msgspec.json.encode(checks))
    few = drift.begun("quiet", alpha=0.01, reference=300, now=NOW)
    few = drift.after(few, [call(rng, each) for each in range(20)], now=NOW)
    site.views.put_drift(features_of("quiet"), msgspec.json.encode(few))
    return site


def test_drift_is_told_with_its_begin_and_examples(drifted: Site) -> None:
    """What, since when, how much, five records from before and after; what learns and what is off say so."""
    answer = drifted.program().get("/api/v1/drift").content
    found = {each.deployment: each for each in msgspec.json.decode(answer, type=Drifts).deployments}
    assert {name: each.state for name, each in found.items()} == {
        "support": "drifted", "quiet": "learning", "off": "off",
    }  # fmt: skip
    (what,) = found["support"].found
    assert (what.feature, what.bin) == ("output_refusal", "declines")
    assert (len(what.examples_before), len(what.examples_after)) == (5, 5)
    (feature,) = [each for each in found["support"].features if each.drifted]
    (declines,) = [each for each in feature.bins if each.bin == "declines"]
    assert declines.now is not None
    assert declines.before < declines.limit < declines.now
    assert found["support"].checks.state == "drifted"
    assert found["support"].checks.changed[0].after == "pear one <b>"
    assert (found["quiet"].n, found["quiet"].needed) == (20, 300)


def test_the_page_shows_it(drifted: Site) -> None:
    """Those that drifted first, in words, each example a link; what is anybody's is escaped."""
    page = shown(drifted.person(), "/quality/drift")
    for words in ("support drifted", "answers that decline", "learning what is usual", "not watched", "<b>"):
        assert words in page.text
    assert sum(each.startswith("/records/r") for each in hrefs(page)) == 10
    assert page.text.index("support") < page.text.index("quiet")
    assert "Nothing is deployed yet" in shown(Site().person(), "/quality/drift").text


def test_a_change_that_may_be_chance_is_not_called_none(site: Site) -> None:
    """Answers that are others, before the test can say so: the page says that they are."""
    site.ledger.text = CONFIG
    checks = drift_checks.begun(["one", "two"], "d", alpha=0.01, now=START)
    for replay, word in enumerate(("apple", "apple", "apple", "pear")):
        said = {"one": f"apple {word}", "two": "fig"}
        checks = drift_checks.after(checks, said, now=START + timedelta(hours=replay))
    site.views.put_drift(checks_of("support"), msgspec.json.encode(checks))
    page = shown(site.person(), "/quality/drift").text
    assert "The last time 1 answer was another: too little so far" in page
    assert "Answers are as before" not in page


def test_prompts_without_an_answer_are_no_good_news(site: Site) -> None:
    """The page says that they had none, and to readers why; the deployment does not stand as before."""
    site.ledger.text = CONFIG
    checks = drift_checks.begun(["one", "two"], "d", alpha=0.01, now=START)
    checks = drift_checks.after(checks, {}, now=START, why="missing_variable: shop")
    site.views.put_drift(checks_of("support"), msgspec.json.encode(checks))
    page = shown(site.person(), "/quality/drift").text
    assert "No prompt had an answer then: missing_variable: shop." in page
    assert "prompts without an answer" in page
    viewer = shown(site.person("viewer"), "/quality/drift").text
    assert "No prompt had an answer then." in viewer
    assert "missing_variable" not in viewer


def test_drift_is_accepted(drifted: Site) -> None:
    """Then it is learned anew; an unknown deployment is a 404; it is noted."""
    program = drifted.program()
    assert program.post("/api/v1/drift/support/accept", json={}).json()["state"] == "learning"
    assert program.post("/api/v1/drift/suport/accept", json={}).status_code == 404
    assert "Nothing is compared yet" in shown(drifted.person(), "/quality/drift").text
    assert [each[0] for each in drifted.audit.entries if each[0].startswith("drift")] == ["drift.accept"]


def test_the_shell_says_the_same(drifted: Site, run: Run, api: AdminApi) -> None:
    """A line for what drifted, an object for programs, 1 if anything did."""
    found = drifted.program().get("/api/v1/drift").json()
    api.answers["GET", "/api/v1/drift"] = found
    ended, out, _ = run("monitor", "drift", "--url", api.url)
    assert ended == 1
    assert "answers that decline: declines since" in out
    assert "answers to fixed prompts changed" in out
    ended, out, _ = run("monitor", "drift", "quiet", "--json", "--url", api.url)
    assert (ended, msgspec.json.decode(out)["state"]) == (0, "learning")
    ended, _, error = run("monitor", "drift", "suport", "--url", api.url)
    assert (ended, "no deployment" in error) == (2, True)
    ended, _, error = run("monitor", "drift", "--accept", "--url", api.url)
    assert (ended, "say whose" in error) == (2, True)
