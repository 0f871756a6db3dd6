"""Pages at twice their size and on paper, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from airboss.store.memory import MemoryRecordLog
from tests.console.site import Site, busy_log, put, sample
from tests.console.test_browser import visitor
from tests.console.test_traces import at, log_of
from tests.support.browser import launched, served

LONG = "a-team/with-a-name-as-long-as-some-people-make-them/and-longer:latest@2026-11-30"
HEAD = """() => {
  const box = (e) => e.getBoundingClientRect();
  const heads = [...document.querySelectorAll(".records thead th")].filter(e => e.checkVisibility());
  const first = box(document.querySelector(".records tbody tr"));
  return [Math.min(...heads.map(e => box(e).width)), Math.max(...heads.map(e => box(e).bottom)) - first.top];
}"""
"""The narrowest column of the list, and how far its head reaches into its first row."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.mark.parametrize("width", [660, 720, 1000, 1100])
def test_a_list_that_is_wider_than_its_page_keeps_head_and_columns(browser: Browser, width: int) -> None:
    """So it is at 200 %: the head stands over its rows and not in them; no column is squeezed to nothing."""
    with served(Site(log=busy_log()).app()) as address, visitor(browser, address, (width, 450)) as page:
        page.goto(f"{address}/records")
        narrowest, reaches = page.evaluate(HEAD)
        assert narrowest >= 48
        assert reaches <= 1


def test_what_is_dark_is_printed_dark_on_light(browser: Browser) -> None:
    """Browsers leave out what is painted behind: light words would be gone on paper."""
    with (
        served(Site(log=busy_log()).app()) as address,
        visitor(browser, address, color_scheme="dark") as page,
    ):
        for theme in ("", "document.documentElement.dataset.theme = 'dark'"):
            page.evaluate(theme)
            page.emulate_media(media="print", color_scheme="dark")
            ink = page.evaluate("getComputedStyle(document.body).color.match(/\\d+/g).map(Number)")
            assert max(ink) < 80
            assert page.locator(".tabs").is_hidden()
            page.emulate_media(media="screen", color_scheme="dark")


def test_long_names_in_traces_stay_on_the_page(browser: Browser) -> None:
    """A service and a user of the longest kind: the table is no wider than what it stands in."""
    named: dict[str, Any] = {"service": LONG, "user": f"{LONG}.example", "name": LONG}
    log = log_of(*(at(number, **named, trace_id=f"{number:032x}") for number in range(1, 21)))
    with served(Site(log=log).app()) as address, visitor(browser, address) as page:
        page.goto(f"{address}/traces?range=24h")
        assert page.locator(".traces tbody tr").count() == 20
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]


def test_how_a_call_ended_stands_at_the_right_of_its_card(browser: Browser) -> None:
    """On a phone; and a name in Arabic is cut at its end, not at its beginning."""
    log = MemoryRecordLog()
    put(log, sample(user="\u0645\u062d\u0645\u062f " * 12))
    cut = "(e) => [getComputedStyle(e).unicodeBidi, getComputedStyle(e).textAlign]"
    with served(Site(log=log).app()) as address, visitor(browser, address, (390, 844)) as page:
        page.goto(f"{address}/records")
        assert page.locator("td.c-end").evaluate(cut) == ["plaintext", "right"]
        page.set_viewport_size({"width": 1440, "height": 900})
        assert page.locator("td.c-user").evaluate(cut) == ["plaintext", "left"]
        assert page.locator("td.c-latency").evaluate(cut)[1] == "right"
