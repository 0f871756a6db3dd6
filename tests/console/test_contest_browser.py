"""The table of a contest in a real Chromium: nothing of it is cut off or lies over something else."""

from __future__ import annotations

from pathlib import Path

from tests.console.looped import opened
from tests.console.test_browser import NARROW, WIDE, pale, visitor
from tests.console.test_loop_browser import LONG_NAMES, OVERLAPS
from tests.support.browser import launched, served
from tests.support.seed_contest import asked_for, serve, work

CUT = """() => [...document.querySelectorAll("#contest :is(.scroll, th, td, .gap, .status)")]
  .filter(box => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display !== "inline")
  .map(box => box.textContent.trim())"""
"""What is wider than its place."""


def test_a_contest_looks_right(tmp_path: Path) -> None:
    """On a wide screen with four scorers, on a telephone, with long names, and before anything is done."""
    with opened(tmp_path) as site:
        serve(site.loop)
        scorers = ("exact", "length:words", "polite=contains:please", "latency")
        jobs = asked_for(site.loop, ("sloppy", "even", "sharp"), scorers=scorers)
        work(site.loop, 3)
        queued = asked_for(site.loop, ("even", "sharp"))
        with served(site.app()) as at, launched() as browser:
            for size in (WIDE, NARROW):
                with visitor(browser, at, size, reduced_motion="reduce") as page:
                    for job in (jobs[0], queued[0]):
                        page.goto(f"{at}/evaluations/{job.id}")
                        assert page.evaluate(CUT) == [], size
                        assert page.evaluate(OVERLAPS) == [], size
                        assert pale(page) == [], size
                        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                        assert wide[0] <= wide[1], size
                    assert page.evaluate(LONG_NAMES) == [], size


def test_a_failure_in_one_long_word_makes_no_page_wider(tmp_path: Path) -> None:
    """Whatever the cause quotes, it is broken where its place ends."""
    with opened(tmp_path) as site:
        serve(site.loop)
        jobs = asked_for(site.loop, ("even", "sharp"))
        job = site.loop.jobs.claim("worker", site.loop.clock.at, 10)
        assert job is not None
        assert site.loop.jobs.fail(job.id, "worker", "word" * 50, site.loop.clock.at)
        with served(site.app()) as at, launched() as browser:
            for size in (WIDE, NARROW):
                with visitor(browser, at, size, reduced_motion="reduce") as page:
                    for each in jobs:
                        page.goto(f"{at}/evaluations/{each.id}")
                        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                        assert wide[0] <= wide[1], size
                        assert page.evaluate(CUT) == [], size


def test_a_scorer_with_a_long_name_makes_no_page_wider(tmp_path: Path) -> None:
    """It is broken beside the picture of the differences, and in the table."""
    with opened(tmp_path) as site:
        serve(site.loop)
        scorers = ({"kind": "exact", "name": "faithful" * 8}, "length:words")
        jobs = asked_for(site.loop, ("even", "sharp"), scorers=scorers, gates=())
        work(site.loop, 2)
        with served(site.app()) as at, launched() as browser:
            for size in (WIDE, NARROW):
                with visitor(browser, at, size, reduced_motion="reduce") as page:
                    page.goto(f"{at}/evaluations/{jobs[0].id}")
                    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                    assert wide[0] <= wide[1], size
                    labels = "boxes => boxes.map(box => box.scrollWidth <= box.clientWidth + 1)"
                    assert all(page.eval_on_selector_all(".intervals .row-label", labels)), size
