"""Forms with several buttons in a real Chromium: which one was pressed is sent, as without a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.console.looped import opened
from tests.console.test_api_adding import every
from tests.console.test_api_eval import LINES
from tests.console.test_browser import NARROW, WIDE, visitor
from tests.support.browser import launched, served
from tests.support.seed_loop import OLD_PROMPT


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_button_that_was_pressed_is_done(browser: Browser, tmp_path: Path, size: tuple[int, int]) -> None:
    """An item is taken out, and not kept; a cost is told, and nothing begins until that is asked for. A
    refusal stands above the buttons."""
    with opened(tmp_path) as site:
        site.loop.apply(OLD_PROMPT)
        site.program().post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES})
        site.program().post(
            "/api/v1/datasets/golden/add", json={"jsonl": '{"id": "more", "input": "More?", "part": "train"}'}
        )
        with served(site.app()) as address, visitor(browser, address, size, refusals=True) as page:
            page.goto(f"{address}/datasets/golden?part=train")
            page.get_by_text("Change", exact=True).first.click()
            page.get_by_role("button", name="Take the item out").first.click()
            expect(page.get_by_text("The dataset is changed")).to_be_visible()
            assert "more" not in every(site)
            page.get_by_text("Change", exact=True).first.click()
            page.get_by_label("Expected answer").first.fill("other")
            page.get_by_role("button", name="Keep this").first.click()
            expect(page.locator(".items .text", has_text="other")).to_be_visible()
            page.goto(f"{address}/evaluations")
            page.get_by_text("Begin an evaluation").click()
            page.get_by_role("button", name="What would it cost?").click()
            expect(page.get_by_text("Nothing was asked")).to_be_visible()
            assert site.loop.jobs.list("eval", 5) == ()
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
            page.get_by_role("button", name="Begin it").click()
            expect(page.get_by_text("It has begun")).to_be_visible()
            assert len(site.loop.jobs.list("eval", 5)) == 1
            page.goto(f"{address}/evaluations")
            page.get_by_text("Begin an evaluation").click()
            page.get_by_label("Judged", exact=False).first.fill("nobody")
            page.get_by_role("button", name="What would it cost?").click()
            said = page.locator(".problem")
            expect(said).to_contain_text("nobody")
            button = page.get_by_role("button", name="Begin it").bounding_box()
            box = said.bounding_box()
            assert box is not None
            assert button is not None
            assert box["y"] + box["height"] <= button["y"] + 1
