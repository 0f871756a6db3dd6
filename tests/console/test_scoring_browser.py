"""The page of a scoring in a real Chromium."""

from __future__ import annotations

from tests.console.site import Site
from tests.console.test_browser import NARROW, WIDE, visitor
from tests.console.test_scorings import done, site
from tests.support.browser import launched, served

__all__ = ["site"]

NAME = "m" * 64


def test_a_scorer_with_the_longest_name_makes_no_page_wider(site: Site) -> None:
    """Nor does a label of its: on a telephone neither has the room."""
    order = {"scorers": [f"{NAME}=contains:please"], "limit": 5}
    job = site.program().post("/api/v1/scorings", json=order).json()
    done(site, job["id"], {"w" * 64: 2})
    with served(site.app()) as at, launched() as browser:
        for size in (WIDE, NARROW):
            with visitor(browser, at, size, reduced_motion="reduce") as page:
                page.goto(f"{at}/scorings/{job['id']}")
                assert page.get_by_text(f"Labels of {NAME}").is_visible()
                wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                assert wide[0] <= wide[1], size
