"""An alarm that evaluates on schedule, on pages: what it fired for, against what, and the items."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.config import parse_config
from airboss.console.api_alarms import unasked
from tests.console.looped import opened
from tests.console.test_browser import NARROW, WIDE, pale, visitor
from tests.console.test_loop_browser import OVERLAPS
from tests.console.test_pages import hrefs, shown
from tests.support.browser import launched, served
from tests.support.seed_loop import CONFIG
from tests.support.seed_scheduled import ALARM, Scheduled


def test_one_that_fires_leads_to_the_items_that_got_worse(tmp_path: Path) -> None:
    """Before a run there is no data, which is said; then its mean stands beside the baseline's, and the
    evaluation says what it is held to."""
    with opened(tmp_path) as site:
        made = Scheduled(site.loop)
        made.look(2)
        text = shown(site.person(), "/alerts/answers").text
        assert "the first evaluation has not ended" in text
        assert "exact on orders (validation), every 1d, against its baseline" in text
        assert "Show the evaluations" in text
        first = made.day()
        assert made.look().phase == "ok"
        second = made.day(forgets=5)
        assert made.look().phase == "firing"
        person = site.person()  # of days ago nobody is signed in any more
        page = shown(person, "/alerts/answers")
        text = page.text.replace("\u00a0", " ")
        assert "once surely worse than that" in text
        assert f"{second}: exact 0." in text
        assert "worse, 0 better" in text
        (link,) = {each for each in hrefs(page) if each.startswith("/evaluations/")}
        assert link == f"/evaluations/{second}?side=worse#items"
        listed = shown(person, "/alerts")
        assert link in hrefs(listed)
        assert "Show the evaluation" in listed.text
        assert "worse than 0.750" in listed.text.replace("\u00a0", " ")
        viewer = site.person("viewer")  # who reads nobody's words
        for path in ("/alerts", "/alerts/answers"):
            assert link not in hrefs(shown(viewer, path))
            assert "/evaluations" in hrefs(shown(viewer, path))
        evaluation = shown(person, link)
        assert f"/evaluations/{first}" in hrefs(evaluation)
        assert "as it was in its baseline" in evaluation.text
        assert "I cannot say, sorry" in evaluation.text
        assert "Ask for it again" not in evaluation.text
        (alarm,) = [
            each
            for each in site.program().get("/api/v1/alarms").json()["alarms"]
            if each["name"] == "answers"
        ]
        assert (alarm["evaluation"], alarm["comparison"], alarm["kind"]) == (second, "worse than", "eval")
        (told,) = site.loop.alerts.notifications("answers", limit=9)
        assert told.body["link"].endswith(link)
        assert told.body["text"].startswith("answers firing: the evaluation of support: 0.")


def test_a_bound_is_told_as_one(tmp_path: Path) -> None:
    """What it fires for is known before any run."""
    with opened(tmp_path) as site:
        made = Scheduled(site.loop, more=f"{ALARM}below = 0.9\n")
        made.look(2)
        assert "below 0.900" in shown(site.person(), "/alerts/answers").text
        done = made.day()
        assert made.look().phase == "firing"
        page = shown(site.person(), "/alerts/answers")
        assert f"/evaluations/{done}#items" in hrefs(page)
        assert "against its baseline" not in page.text
        assert "surely worse" not in page.text


def test_a_dataset_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    """With the nearest that is, where there is one; a digest is taken."""
    with opened(tmp_path) as site:
        made = Scheduled(site.loop)
        digest = made.loop.evals.datasets()[0].digest
        for wanted, words in (("order", ['did you mean "orders"?']), ("orders", []), (digest[:12], [])):
            text = (CONFIG + ALARM).replace('dataset = "orders"', f'dataset = "{wanted}"')
            found = list(unasked(site.desk(), parse_config(text, source="x")))
            assert [each.partition("; ")[2] for each in found] == words


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_it_looks_right(tmp_path: Path, size: tuple[int, int]) -> None:
    """Nothing lies over something else or is wider than the screen."""
    with opened(tmp_path) as site:
        made = Scheduled(site.loop)
        made.look(2)
        made.work()
        made.look(2)
        second = made.day(forgets=5)
        with (
            served(site.app()) as at,
            launched() as browser,
            visitor(browser, at, size, reduced_motion="reduce") as page,
        ):
            for path in ("/alerts", "/alerts/answers", f"/evaluations/{second}?side=worse"):
                page.goto(f"{at}{path}")
                assert page.evaluate(OVERLAPS) == [], path
                assert pale(page) == [], path
                wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                assert wide[0] <= wide[1], path
