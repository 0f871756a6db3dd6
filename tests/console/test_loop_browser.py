"""The pages of the loop in a real Chromium: how they look, and that their forms are usable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.console.looped import LoopSite, opened
from tests.console.test_browser import NARROW, WIDE, pale, visitor
from tests.support.browser import launched, served
from tests.support.seed_loop import NEW_PROMPT, OLD_PROMPT

EMPTY = (
    "/deployments",
    "/rollouts",
    "/releases",
    "/quality",
    "/evaluations",
    "/datasets",
    "/jobs",
    "/alerts",
)


OVERLAPS = """() => {
  const both = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]) > 2;
  const over = (a, b) => both(a, b, "left", "right") && both(a, b, "top", "bottom");
  const found = [];
  for (const row of document.querySelectorAll("tr")) {
    const cells = [...row.children].map(cell => [cell.textContent.trim(), cell.getBoundingClientRect()]);
    cells.forEach(([said, at], place) => cells.slice(place + 1).forEach(([other, there]) => {
      if (at.width && there.width && over(at, there)) found.push(`${said} over ${other}`);
    }));
  }
  return found;
}"""
"""Cells of tables that lie over others."""

LONG_NAMES = """() => {
  const names = ".release-link .name, tbody th > a:not(.release-link), .tag + a";
  for (const name of document.querySelectorAll(names))
    name.textContent = "summaries-of-customer-orders-and-returns-in-the-european-union-v";
  return [...document.querySelectorAll(".scroll, tbody th, td")]
    .filter(box => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).textOverflow !== "ellipsis")
    .map(box => box.textContent.trim());
}"""
"""What is wider than its place when all is called by names as long as names may be."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def address(week: LoopSite) -> Iterator[str]:
    """A console over a week in which everything happened."""
    with served(week.app()) as found:
        yield found


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A console where nothing has happened yet."""
    with opened(tmp_path_factory.mktemp("nothing")) as site, served(site.app()) as found:
        yield found


def every_page(site: LoopSite) -> list[str]:
    """Each page once, with what it can hold."""
    loop = site.loop
    rollouts = loop.rollouts.list()
    newest = rollouts[0]
    return [
        "/deployments",
        "/deployments/support",
        "/deployments/assistant?range=6h",
        "/rollouts",
        *(f"/rollouts/{each.id}" for each in rollouts),
        "/releases",
        f"/releases/{newest.release}",
        f"/releases/diff?a={newest.baseline}&b={newest.release}",
        "/quality",
        "/evaluations",
        *(f"/evaluations/{job.id}" for job in loop.jobs.list("eval", 50)),
        "/datasets",
        "/datasets/orders?part=validation",
        "/jobs",
        "/alerts",
        "/alerts/errors",
        "/alerts/slow",
        "/alerts/unhappy",
    ]


@pytest.fixture(scope="module")
def everything(week: LoopSite, address: str, nothing: str) -> list[tuple[str, tuple[str, ...]]]:
    """Addresses with the pages to look at: full ones, and empty ones."""
    return [(address, tuple(every_page(week))), (nothing, EMPTY)]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_every_page_looks_right(
    browser: Browser, everything: list[tuple[str, tuple[str, ...]]], size: tuple[int, int]
) -> None:
    """At both widths, dark and light: nothing overflows sideways, every text has contrast 4.5, no errors;
    with every form open; and the same where there is nothing yet."""
    for at, paths in everything:
        with visitor(browser, at, size, reduced_motion="reduce") as page:
            for path in paths:
                page.goto(at + path)
                for form in page.locator("details.doing > summary").all():
                    if form.is_visible():
                        form.click()
                        assert pale(page) == [], path
                wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                assert wide[0] <= wide[1], (path, wide)
                assert pale(page) == [], path
                assert page.evaluate(OVERLAPS) == [], path


def test_long_names_wrap(browser: Browser, address: str) -> None:
    """Where releases and deployments have names as long as names may be, no table is cut off, and no name
    lies over what stands beside it."""
    with visitor(browser, address, WIDE) as page:
        for path in ("/", "/releases", "/deployments", "/rollouts"):
            page.goto(address + path)
            assert page.evaluate(LONG_NAMES) == [], path


def test_a_laptop_shows_every_column(browser: Browser, address: str) -> None:
    """At 1280 px, with long names: what calls cost stands last, and lay beyond the table's edge."""
    with visitor(browser, address, (1280, 800)) as page:
        for path in ("/", "/explore"):
            page.goto(address + path)
            assert page.evaluate(LONG_NAMES) == [], path


@pytest.mark.parametrize("width", [700, 900])
def test_a_small_window_is_as_wide_as_its_page(browser: Browser, address: str, width: int) -> None:
    """So is a large one at 200 %: where a list needs more, it scrolls in its own box."""
    with visitor(browser, address, (width, 800)) as page:
        for path in ("/records", "/traces", "/", "/deployments/support"):
            page.goto(address + path)
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], path


def test_the_head_is_one_line_on_a_wide_screen(browser: Browser, address: str) -> None:
    """Also where the menu of deployments is as wide as it gets: the search gives way."""
    with visitor(browser, address, WIDE) as page:
        page.goto(address)
        page.locator(".pick select").evaluate("menu => { menu.style.width = '200px'; }")
        assert page.locator("header.bar").evaluate("bar => bar.offsetHeight") < 60
        who = page.locator(".who b").evaluate("name => [name.scrollWidth, name.clientWidth]")
        assert who[0] <= who[1]


def test_a_rollout_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    """From the rail to a started and aborted rollout without a mouse; a refresh does not take a form away."""
    with opened(tmp_path) as site:
        site.loop.apply(OLD_PROMPT)
        site.loop.serve(30, hours=1)
        site.loop.apply(NEW_PROMPT)
        with served(site.app()) as at, visitor(browser, at) as page:
            page.keyboard.press("g")
            page.keyboard.press("d")
            page.wait_for_url(f"{at}/deployments")
            page.goto(f"{at}/deployments/support")
            page.locator(".doing > summary").focus()
            page.keyboard.press("Enter")
            page.locator("[name=reason]:visible").focus()
            page.keyboard.type("on ev")
            page.evaluate("document.getElementById('live').dispatchEvent(new CustomEvent('airboss:changed'))")
            page.keyboard.type("idence")
            expect(page.locator("[name=reason]:visible")).to_have_value("on evidence")
            page.keyboard.press("Enter")
            expect(page.locator(".said-done")).to_contain_text("The rollout has begun")
            assert site.loop.rollouts.list()[0].stage.state == "running"
            abort = page.locator(".doing > summary", has_text="Abort")
            abort.focus()
            page.keyboard.press("Enter")
            page.locator("[name=reason]:visible").fill("enough")
            page.keyboard.press("Enter")
            expect(page.locator(".timeline").first).to_contain_text("aborted by a person")
            assert site.loop.rollouts.list()[0].stage.state == "aborted"


def test_a_rollout_without_javascript(browser: Browser, tmp_path: Path) -> None:
    """Every form is a form: it opens, and works, without a script."""
    with opened(tmp_path) as site:
        site.loop.apply(OLD_PROMPT)
        site.loop.apply(NEW_PROMPT)
        site.loop.start()
        with served(site.app()) as at:
            context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
            page = context.new_page()
            page.goto(f"{at}/login")
            page.fill("#key", "admin-key-of-the-tests")
            page.click("button.primary")
            page.goto(f"{at}/deployments/support")
            page.click("text=Pause")
            page.locator("[name=reason]:visible").fill("lunch")
            page.click("text=Pause the rollout")
            expect(page.locator(".rollout-head .status")).to_have_text("paused")
            context.close()


def test_a_dataset_of_a_chosen_file(browser: Browser, tmp_path: Path) -> None:
    """The file's text stands in the form, to be looked at before it is kept."""
    table = tmp_path / "spam.csv"
    table.write_text("input,expected\nIs it spam?,yes\n")
    with opened(tmp_path / "data") as site, served(site.app()) as at, visitor(browser, at) as page:
        page.goto(f"{at}/datasets")
        page.click("text=Make one of a file")
        page.fill("[name=dataset]", "spam")
        page.set_input_files("input[type=file]", table)
        expect(page.locator("#dataset-text")).to_have_value(table.read_text())
        page.click("text=Keep it")
        expect(page.locator(".said-done")).to_contain_text("The dataset is kept")
        assert [each.name for each in site.loop.evals.datasets()] == ["spam"]


@pytest.mark.parametrize("width", [390, 360])
def test_the_bottom_bar_has_every_room_in_reach(browser: Browser, address: str, width: int) -> None:
    """On a phone no room and no button of the rail lies beyond the screen or upon another, wherever one is,
    and the present room is named."""
    with visitor(browser, address, (width, 844)) as page:
        for path in ("/", "/deployments", "/quality", "/tuning", "/system"):
            page.goto(address + path)
            boxes = [
                each.bounding_box()
                for each in page.locator(".rail > a, .rail button").filter(visible=True).all()
            ]
            assert len(boxes) == 9, path
            end = 0.0
            for box in boxes:
                assert box is not None
                assert end <= box["x"]
                assert box["width"] >= 28
                assert box["height"] >= 44
                end = box["x"] + box["width"]
            assert end <= width
            named = page.locator(".rail > [aria-current] span").bounding_box()
            assert named is not None
            assert named["width"] > 20


def test_a_refresh_that_fails_takes_nothing_away(browser: Browser, address: str) -> None:
    """What was shown stays, and is said to be old; when the record store is back, so is the page."""
    with visitor(browser, address, refusals=True) as page:
        page.goto(f"{address}/deployments/support")
        expect(page.locator("#beat .word")).to_have_text("live")
        before = page.locator("#live").inner_text()
        page.route(
            f"{address}/deployments/support*",
            lambda route: route.fulfill(status=503, content_type="text/html", body="<main>no answer</main>"),
        )
        changed = "document.querySelector('#live').dispatchEvent(new CustomEvent('airboss:changed'))"
        page.evaluate(changed)
        expect(page.locator("#beat .word")).to_have_text("not up to date")
        assert len(page.locator("#live").inner_text()) >= len(before) / 2
        page.unroute(f"{address}/deployments/support*")
        page.evaluate(changed)
        expect(page.locator("#beat .word")).to_have_text("live")
        expect(page.locator("#live")).to_contain_text("Who answered")
