"""The console in a real Chromium, as who has a role: nothing is cut off, and the head says who it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from airboss.config.types import Role
from tests.console.looped import LoopSite
from tests.console.site import NAMES, key_of
from tests.console.test_browser import NARROW, WIDE, pale
from tests.support.browser import launched, served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_pages_look_right_for_a_role(
    browser: Browser, week: LoopSite, role: Role, size: tuple[int, int]
) -> None:
    """At both widths, dark and light: nothing overflows sideways, every text has contrast 4.5."""
    with served(week.app()) as address:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
        page = context.new_page()
        page.goto(f"{address}/login")
        page.fill("#key", key_of(role))
        page.click("button.primary")
        expect(page.locator(".who")).to_have_text(f"{NAMES[role]}{role}")
        found = page.request.get(f"{address}/api/v1/records?limit=1&deployment=support").json()["records"]
        for path in ("/", f"/records/{found[0]['id']}", "/deployments/support", "/datasets/orders"):
            page.goto(address + path)
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (path, wide)
            assert pale(page) == [], path
        page.goto(f"{address}/deployments/support")
        expect(page.locator(".doing > summary")).to_have_count(0 if role == "viewer" else 3)
        context.close()
