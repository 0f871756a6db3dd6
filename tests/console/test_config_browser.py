"""The configuration in a real Chromium: written, seen, applied, at both widths, dark and light."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.looped import LoopSite
from tests.console.site import NAMES, key_of
from tests.console.test_browser import NARROW, WIDE, pale, visitor
from tests.support.browser import launched, served
from tests.support.seed_loop import OLD_PROMPT

PATH = "/system/configuration"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.fixture
def site(fresh: LoopSite) -> LoopSite:
    """An Airboss that serves the configuration of the seed."""
    fresh.loop.apply(OLD_PROMPT)
    return fresh


def looks_right(page: Page) -> None:
    """Nothing overflows sideways, and every text can be read."""
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], (page.url, wide)
    assert pale(page) == [], page.url


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_from_an_empty_page_to_an_alarm(browser: Browser, site: LoopSite, size: tuple[int, int]) -> None:
    """The page of alarms leads to a ready-made one, which is put in, mended where it is wrong, applied."""
    with (
        served(site.app()) as address,
        visitor(browser, address, size, refusals=True, reduced_motion="reduce") as page,
    ):
        page.goto(f"{address}/alerts")
        page.click("text=Set one up")
        piece = page.locator("#piece-alarm")
        expect(piece).to_have_attribute("open", "")
        looks_right(page)
        piece.locator("button[name=add]").click()
        expect(page.locator("#changes h2")).to_contain_text("settings")
        looks_right(page)
        field = page.locator("#text")
        text = field.input_value()
        assert "\n[alarms.slow-2]\n" in text
        field.fill(text.replace("above = 5000", "abov = 5000"))
        page.click("text=See what changes")
        expect(page.locator("#problem")).to_contain_text('did you mean "above"?')
        looks_right(page)
        chosen = (
            "(field) => [field.value.slice(field.selectionStart, field.selectionEnd), field.scrollTop > 0]"
        )
        assert field.evaluate(chosen) == ["abov = 5000", True]
        field.fill(text)
        page.click("text=See what changes")
        page.fill("[name=reason]", "users wait")
        page.click("button:has-text('Apply')")
        expect(page.locator(".said-done")).to_contain_text("every gateway serves by it")
        looks_right(page)
        assert field.input_value() == text == site.loop.ledger.config()
        page.goto(f"{address}/alerts")
        expect(page.locator("#live")).to_contain_text("slow-2")


def test_without_a_script(browser: Browser, site: LoopSite) -> None:
    """Seen and applied by forms alone; what somebody else changed in between is shown, and the text kept."""
    with served(site.app()) as address:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{address}/login")
        page.fill("#key", key_of("operator"))
        page.click("button.primary")
        page.wait_for_url(f"{address}/")
        page.goto(address + PATH)
        mine = page.locator("#text").input_value().replace("above = 4000", "above = 3000")
        page.fill("#text", mine)
        page.click("text=See what changes")
        expect(page.locator("#changes")).to_contain_text("alarms.slow.above")
        theirs = (site.loop.ledger.config() or "").replace("above = 20", "above = 30")
        site.loop.rollouts.apply(theirs, "airboss.toml")
        page.fill("[name=reason]", "mine")
        page.click("button:has-text('Apply')")
        expect(page.locator("#problem")).to_contain_text("alarms.spend.above")
        assert page.locator("#text").input_value() == mine
        assert site.loop.ledger.config() == theirs
        page.fill("#text", mine.replace("above = 20", "above = 30"))
        page.click("text=See what changes")
        page.fill("[name=reason]", "both")
        page.click("button:has-text('Apply')")
        expect(page.locator(".said-done")).to_be_visible()
        assert "above = 30" in (site.loop.ledger.config() or "")
        assert "above = 3000" in (site.loop.ledger.config() or "")
        assert site.audit.entries[-1][1] == NAMES["operator"]
        context.close()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_a_viewer_sees_it(browser: Browser, site: LoopSite, size: tuple[int, int]) -> None:
    """Without a field, at both widths."""
    with served(site.app()) as address:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
        page = context.new_page()
        page.goto(f"{address}/login")
        page.fill("#key", key_of("viewer"))
        page.click("button.primary")
        page.wait_for_url(f"{address}/")
        page.goto(address + PATH)
        expect(page.locator("main textarea, main button")).to_have_count(0)
        looks_right(page)
        context.close()
