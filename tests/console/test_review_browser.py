"""Answers judged in a real Chromium: by number keys, at both widths, dark and light."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from airboss.domain.ports import RecordFilter
from airboss.governance.erasure import Forgetting
from airboss.store.erasures import SqlErasures
from airboss.store.ledger import SqlLedger
from tests.console.site import Site, busy_log
from tests.console.test_browser import NARROW, WIDE, pale, visitor
from tests.console.test_judges import said
from tests.support.browser import launched, served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A console over calls that a judge has scored and people have judged in part."""
    url, log = f"sqlite:///{tmp_path / 'ledger.db'}", busy_log(300)
    SqlLedger(url).close()
    asked = RecordFilter(deployment="support", status="ok")
    ids = [each.id for each in log.records(asked, limit=1_000, bodies=False)]
    for number, each in enumerate(ids):
        fields = {"subject_id": each, "id": f"judge-{number}"}
        log.put_scores([said(number, number % 4 != 0, source="scorer", **fields)])
        if number % 5 == 0:
            fields["id"] = f"person-{number}"
            log.put_scores([said(number, number % 3 != 0, source="sample", by="ann", comment="so", **fields)])
    erasures = SqlErasures(url)
    with served(Site(log=log, people=Forgetting(erasures, "key")).app()) as found:
        yield found
    erasures.close()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_a_sample_is_judged_by_keys(browser: Browser, address: str, size: tuple[int, int]) -> None:
    """1 and 2 answer, s skips, u takes the last one back, and what is typed as a comment presses nothing; no
    page overflows sideways, and every text can be read."""
    with visitor(browser, address, size, reduced_motion="reduce") as page:

        def looks_right() -> None:
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (page.url, wide)
            assert pale(page) == [], page.url

        def at(place: int) -> None:
            page.wait_for_url(re.compile(rf"at={place}\b"))

        page.goto(f"{address}/review?deployment=support&name=helpful")
        looks_right()
        page.fill("[name=n]", "4")
        page.click("text=Begin")
        page.wait_for_selector(".answer-button")
        looks_right()
        page.fill("textarea", "1 of 2, so")
        assert "at=" not in page.url
        page.click("text=Yes")
        at(1)
        page.keyboard.press("u")
        at(0)
        page.keyboard.press("2")
        at(1)
        page.keyboard.press("s")
        at(2)
        for place in (3, 4):
            page.keyboard.press("1")
            at(place)
        assert "3 of 4 judged" in page.inner_text("main")
        looks_right()
        page.goto(f"{address}/quality")
        assert "Cohen's kappa" in page.inner_text(".believed")
        looks_right()
        page.goto(f"{address}/records?score=review:right")
        page.click("table.records tbody a")
        page.wait_for_selector("#record-id")
        page.click("text=Judge this answer")
        looks_right()
        page.fill("[name=value]", "no")
        page.click("text=Keep it")
        page.wait_for_selector("text=Take back")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_what_would_have_been_right_is_written_by_keys(
    browser: Browser, address: str, size: tuple[int, int]
) -> None:
    """A key opens its field, which begins with the answer, Escape leaves it, and a number judges. The
    record's page shows what differs."""
    with visitor(browser, address, size, reduced_motion="reduce") as page:

        def looks_right() -> None:
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (page.url, wide)
            assert pale(page) == [], page.url

        page.goto(f"{address}/review?deployment=support&name=helpful")
        page.click("text=Begin")
        page.wait_for_selector(".answer-button")
        record = page.get_attribute(".progress-words a", "href")
        page.keyboard.press("c")
        answer = page.input_value("[name=correction]")
        assert answer
        page.keyboard.press("Control+End")
        page.keyboard.type(" 12 of it")
        looks_right()
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        page.wait_for_url(re.compile(r"at=1\b"))
        page.goto(f"{address}{record}")
        assert page.inner_text(".righted ins").endswith("12 of it")
        looks_right()
        page.click("text=Judge this answer")
        assert page.input_value("[name=correction]") == f"{answer} 12 of it"
        looks_right()
