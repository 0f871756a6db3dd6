"""The console in a real Chromium: what people see and press."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from airboss.console.documents import sources
from airboss.store.memory import MemoryRecordLog
from tests.console.site import ADMIN_KEY, NOW, Ledger, Site, busy_log, put, sample
from tests.console.test_api import One
from tests.console.test_pages import hostile_record
from tests.support.browser import launched, served
from tests.support.seed_records import fill, make_records, seed_plan
from tests.support.wait import until

WIDE, NARROW = (1440, 900), (390, 844)
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A console over a busy day."""
    with served(Site(log=busy_log()).app()) as found:
        yield found


@contextmanager
def visitor(
    browser: Browser, address: str, size: tuple[int, int] = WIDE, *, refusals: bool = False, **options: Any
) -> Iterator[Page]:
    """A person who is logged in. A warning or error in the browser's console, or a request elsewhere, fails
    the test; what Chromium only remarks on, such as an autofocus it skipped, does not, nor, with `refusals`,
    that something was refused."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, timezone_id="Europe/Berlin", locale="en-GB", **options
    )
    page = context.new_page()
    said: list[str] = []
    page.on(
        "console",
        lambda message: (
            said.append(f"{message.type}: {message.text}")
            if message.type in {"warning", "error"} and not (refusals and "with a status of" in message.text)
            else None
        ),
    )
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(address) else None
    )
    try:
        page.goto(f"{address}/login")
        page.fill("#key", ADMIN_KEY)
        page.click("button.primary")
        page.wait_for_url(f"{address}/")
        yield page
        assert said == []
    finally:
        context.close()


def a_record(page: Page, address: str, query: str) -> str:
    """The path of a record that the API finds."""
    found = page.request.get(f"{address}/api/v1/records?limit=1&{query}").json()["records"]
    return f"/records/{found[0]['id']}"


def pale(page: Page) -> list[str]:
    """Texts that are hard to read, dark or light."""
    found: list[str] = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found += page.evaluate(CONTRAST)
    return found


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_every_page_looks_right(browser: Browser, address: str, size: tuple[int, int]) -> None:
    """At both widths, dark and light: nothing overflows sideways, every text has contrast 4.5, no errors."""
    with visitor(browser, address, size, reduced_motion="reduce") as page:
        paths = ["/", "/?range=6h&deployment=support", "/?since=2026-01-01&until=2026-01-02", "/records"]
        paths += ["/records?status=error&range=24h", "/records?user=nobody", "/system", "/login"]
        paths += [
            a_record(page, address, f"deployment={name}&status=ok") for name in ("code-review", "support")
        ]
        paths.append(a_record(page, address, "deployment=code-review&status=error"))
        for path in paths:
            page.goto(address + path)
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (path, wide)
            assert pale(page) == [], path


def test_explore_stays_in_reach(browser: Browser, address: str) -> None:
    """A comparison is read at 1440 without scrolling sideways; on a phone a hundred users are no long way
    down, and each keeps its name in sight beside its numbers."""
    inner = "(e) => [e.scrollWidth, e.clientWidth, document.documentElement.scrollHeight]"
    compared = "/explore?range=6h&compare=previous&group_by="
    paths = [compared + by for by in ("deployment", "user", "model,key")]
    with visitor(browser, address) as page:
        for path in paths:
            page.goto(address + path)
            wide = page.eval_on_selector(".scroll:has(.explore)", inner)
            assert wide[0] <= wide[1], (path, wide)
    with visitor(browser, address, NARROW) as page:
        page.goto(f"{address}/explore?range=24h&group_by=user")
        assert page.locator(".explore tbody tr").count() == 100
        assert page.eval_on_selector(".scroll:has(.explore)", inner)[2] < 9000
        page.eval_on_selector(".scroll:has(.explore)", "(e) => { e.scrollLeft = 400; }")
        box = page.locator(".explore tbody th").first.bounding_box()
        assert box is not None
        assert box["x"] >= 0


def test_a_phone_shows_all_tabs(browser: Browser, address: str) -> None:
    """Of the room with most of them too: the one that one is on is not out of sight."""
    with visitor(browser, address, NARROW) as page:
        page.goto(f"{address}/quality")
        tabs = page.locator(".tabs a")
        boxes = [tabs.nth(number).bounding_box() for number in range(tabs.count())]
        assert len(boxes) == 7
        assert all(
            box is not None and box["x"] >= 0 and box["x"] + box["width"] <= NARROW[0] for box in boxes
        )


def test_who_speaks_is_one_word(browser: Browser) -> None:
    """Beside the conversation, whatever the answer is called: it was cut into `embedding` and `s`."""
    log = MemoryRecordLog()
    vectors = {"data": [{"embedding": [0.5], "index": 0}], "object": "list"}
    one = sample(operation="embeddings", request={"input": "hello"}, response=vectors)
    put(log, one)
    with served(Site(log=log).app()) as at, visitor(browser, at) as page:
        page.goto(f"{at}/records/{one.id}")
        heads = page.locator(".turn h3")
        boxes = [heads.nth(number).bounding_box() for number in range(heads.count())]
        expect(heads.last).to_have_text("embeddings")
        assert {box["height"] for box in boxes if box is not None} == {21}


def test_a_deployment_with_the_longest_name_fits_a_phone(browser: Browser) -> None:
    """Its page does not scroll sideways."""
    name = "a/name:that@goes+on_" + "and_on_" * 15 + "on"
    log = MemoryRecordLog()
    made = make_records(20, seed=3, until=NOW)
    fill(log, [msgspec.structs.replace(each, deployment=name) for each in made])
    plan = seed_plan(NOW)
    one = msgspec.structs.replace(plan.deployments[0], name=name, aliases=())
    ledger = Ledger(msgspec.structs.replace(plan, deployments=(one,)), None)
    with served(Site(log=log, ledger=ledger).app()) as at, visitor(browser, at, NARROW) as page:
        page.goto(f"{at}/deployments/{quote(name)}")
        expect(page.locator("h1")).to_contain_text(name)
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], wide


def test_the_way_through_by_mouse(browser: Browser, address: str) -> None:
    """Filter, page on, open a record, come back: the address keeps it all."""
    with visitor(browser, address) as page:
        page.click("nav.rail >> text=Records")
        page.select_option("select[name=deployment]", "support")
        expect(page.locator(".found b")).not_to_have_text("3,000")
        page.wait_for_url(re.compile("deployment=support"))
        assert "status=" not in page.url  # an empty field stays out of the address
        expect(page.locator("tbody .c-deployment").first).to_have_text("support")
        expect(page.locator("#ranges a").first).to_have_attribute("href", re.compile("deployment=support"))
        first = page.locator("tbody tr a").first.get_attribute("href")
        page.click("text=Older")
        page.wait_for_url(re.compile("before="))
        assert page.locator("tbody tr a").first.get_attribute("href") != first
        page.locator("tbody tr").nth(3).locator(".c-model").click()
        page.wait_for_url(re.compile("/records/[0-9a-f-]{36}$"))
        expect(page.locator("h2", has_text="Conversation")).to_be_visible()
        page.go_back()
        page.click("text=Newer")
        expect(page.locator("tbody tr a").first).to_have_attribute("href", first or "")


def test_typing_searches(browser: Browser, address: str) -> None:
    """The search narrows while typing, and the field keeps the focus."""
    with visitor(browser, address) as page:
        page.goto(f"{address}/records")
        page.keyboard.press("/")
        expect(page.locator("#search")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#search")).not_to_be_focused()
        page.keyboard.press("Control+k")
        expect(page.locator("#search")).to_be_focused()
        page.keyboard.type("upstream_err")
        page.wait_for_url(re.compile("text=upstream_err"))
        expect(page.locator("tbody .c-end").first).to_have_text("upstream_error")
        expect(page.locator("#search")).to_be_focused()
        expect(page.locator("#search")).to_have_value("upstream_err")


def test_the_way_through_by_keyboard(browser: Browser, address: str) -> None:
    """Skip link first, focus always seen; j and k move, Enter opens, j goes on, g o leads home."""
    with visitor(browser, address) as page:
        page.goto(f"{address}/records")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        for key in "jjjk":
            page.keyboard.press(key)
        row = page.locator("tbody tr").nth(1)
        expect(row).to_have_attribute("aria-selected", "true")
        wanted = row.locator("a").get_attribute("href")
        older = page.locator("tbody tr").nth(2).locator("a").get_attribute("href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}{wanted}")
        page.keyboard.press("j")
        page.wait_for_url(f"{address}{older}")
        page.keyboard.press("k")
        page.wait_for_url(f"{address}{wanted}")
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        page.keyboard.press("o")
        page.wait_for_url(f"{address}/")


def test_lines_of_hues_that_look_alike_are_dashed_apart(browser: Browser, address: str) -> None:
    """Two blues, 15 degrees apart, were one line to the eye; blue and pink need no dashes."""
    recolour = """hues => {
      const source = document.getElementById("chart-data"), data = JSON.parse(source.textContent);
      hues.forEach((hue, at) => { data.lines[at].hue = hue; });
      source.textContent = JSON.stringify(data);
      document.dispatchEvent(new CustomEvent("htmx:after:swap"));
      return data.lines.map(line => {
        const drawn = document.querySelector(`[data-sample="${line.deployment}"]`);
        return drawn.getAttribute("stroke-dasharray");
      });
    }"""
    with visitor(browser, address) as page:
        page.goto(address)
        expect(page.locator(".plot canvas").first).to_be_visible()
        alike, apart = page.evaluate(recolour, [3, 9]), page.evaluate(recolour, [3, 5])
        assert alike[0] != alike[1]
        assert apart[:2] == ["", ""]


def test_charts_are_drawn_and_brushed(browser: Browser, address: str) -> None:
    """Six charts; a tooltip names the deployments; dragging across one narrows the time for everything."""
    with visitor(browser, address) as page:
        assert page.locator(".plot canvas").count() == 6
        box = page.locator(".plot .u-over").first.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40)
        expect(page.locator(".tip")).to_contain_text("support")
        expect(page.locator(".tip")).to_contain_text("n ")
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=4)
        page.mouse.up()
        page.wait_for_url(re.compile("since=.*&until="))
        data = json.loads(page.locator("#chart-data").text_content() or "")
        assert 5.5 * 3600 < data["until"] - data["since"] < 6.5 * 3600
        expect(page.locator(".custom summary")).to_contain_text(" \N{EN DASH} ")


def test_the_theme_is_switched_and_kept(browser: Browser, address: str) -> None:
    """The switch works at once, charts included, and the next page comes in the same theme."""
    with visitor(browser, address, color_scheme="light") as page:
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert page.locator(".plot canvas").count() == 6
        page.goto(f"{address}/system")
        assert page.locator("html").get_attribute("data-theme") == "dark"


def test_copying(browser: Browser, address: str) -> None:
    """Copy as curl puts the whole command on the clipboard; the id and the JSON go there as well."""
    with visitor(browser, address, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(address + a_record(page, address, "deployment=support&status=ok"))
        page.click("text=Copy as curl")
        expect(page.locator(".again .copy").first).to_contain_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("curl -sS")
        assert "Bearer $OPENAI_API_KEY" in copied
        page.click("text=Raw JSON")
        page.click("text=Copy JSON")
        expect(page.locator("[data-copy=raw]")).to_contain_text("Copied")
        assert json.loads(page.evaluate("navigator.clipboard.readText()"))["deployment"] == "support"
        page.click("[data-copy=record-id]")
        expect(page.locator("[data-copy=record-id] [role=status]")).to_be_attached()
        assert page.evaluate("navigator.clipboard.readText()") == page.url.rpartition("/")[2]


def test_numbers_live_without_a_reload(browser: Browser) -> None:
    """A call that ends while the page is open is counted on it; the table of records offers it."""
    log = MemoryRecordLog()
    fill(log, make_records(50, seed=2, until=NOW, span_s=3_000))
    site = Site(log=log)
    with served(site.app()) as address, visitor(browser, address) as page:
        page.evaluate("window.here = true")
        expect(page.locator("#beat")).to_have_text("live")
        expect(page.locator(".card .value").first).to_have_text("50")
        other = page.context.new_page()
        other.goto(f"{address}/records")
        expect(other.locator("#beat")).to_have_text("live")
        until(lambda: site.hub and site.hub.news)  # the watcher knows where things stand
        site.clock.forward(5)
        put_more(log)
        expect(page.locator(".card .value").first).to_have_text("51")
        assert page.evaluate("window.here") is True
        assert page.locator(".plot canvas").count() == 6
        expect(other.locator("#fresh")).to_be_visible()
        other.click("#fresh")
        expect(other.locator(".found b")).to_have_text("51")
        page.click("#beat")
        expect(page.locator("#beat")).to_have_text("paused")


def put_more(log: MemoryRecordLog) -> None:
    """One more call."""
    put(log, sample(id="fffffff0-0000-7000-8000-000000000001", started_at=NOW))


def test_pages_work_without_javascript(browser: Browser, address: str) -> None:
    """Numbers, filters, paging, records and the theme need no script."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/login")
    page.fill("#key", ADMIN_KEY)
    page.click("button.primary")
    expect(page.locator("table.deployments tbody tr")).to_have_count(5)
    page.goto(f"{address}/records")
    page.select_option("select[name=status]", "error")
    page.locator(".filters noscript button").click()
    assert "status=error" in page.url
    expect(page.locator("tbody .c-status").first).to_have_text("error")
    page.locator("tbody tr a").first.click()
    expect(page.locator("h2", has_text="Attempts")).to_be_visible()
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    context.close()


@pytest.mark.parametrize(
    "word",
    ["</script><script>window.pwned=1</script>", '"><img src=https://evil.example/x onerror=window.pwned=1>'],
)
def test_hostile_records_do_nothing_in_a_browser(browser: Browser, word: str) -> None:
    """What a record holds runs nothing and loads nothing; `visitor` fails on any request elsewhere."""
    with served(Site(log=Hostile(word)).app()) as address, visitor(browser, address) as page:
        for path in ("/records", "/records/hostile", "/"):
            page.goto(address + path)
            assert page.evaluate("window.pwned") is None
        expect(page.locator("h1", has_text="Overview")).to_be_visible()


class Hostile(One):
    """A log whose one record is hostile, with stats and series under its name."""

    def __init__(self, word: str) -> None:
        super().__init__(hostile_record(word))
        self.real = MemoryRecordLog()
        put(self.real, sample(id="x", deployment=word, user=word, error_type=word, started_at=NOW))

    def stats(self, *args: Any, **kwargs: Any) -> Any:
        """As `RecordLog`."""
        return self.real.stats(*args, **kwargs)

    def series(self, *args: Any, **kwargs: Any) -> Any:
        """As `RecordLog`."""
        return self.real.series(*args, **kwargs)


def test_motion_is_short_and_can_be_none(browser: Browser, address: str) -> None:
    """Transitions last under 150 ms, and are off for those who ask for less motion."""
    duration = "parseFloat(getComputedStyle(e).transitionDuration)"
    longest = f"Math.max(...[...document.querySelectorAll('*')].map((e) => {duration}))"
    with visitor(browser, address) as page:
        assert 0 < page.evaluate(longest) <= 0.15
    with visitor(browser, address, reduced_motion="reduce") as page:
        assert page.evaluate(longest) == 0


def test_the_bottom_bar_leads_on(browser: Browser, address: str) -> None:
    """On a phone the rail is a bar at the bottom, always in reach; rows are cards that open."""
    with visitor(browser, address, NARROW) as page:
        box = page.locator("nav.rail").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] == NARROW[1]
        page.click("nav.rail >> text=Records")
        page.locator("tbody tr").nth(1).click()
        page.wait_for_url(re.compile("/records/[0-9a-f-]{36}$"))


def test_a_refused_form_stays_as_it_was_written(browser: Browser, address: str) -> None:
    """The reason stands in it, nothing that was typed is lost, and what is then right goes through."""
    with visitor(browser, address, refusals=True) as page:
        page.goto(f"{address}/explore?group_by=model")
        page.click("summary:has-text('Save this view')")
        form = page.locator("details[open] form")
        form.locator("[name=name]").fill("   ")
        form.locator("button").click()
        expect(form.locator("[role=alert]")).to_contain_text("name is empty")
        assert page.url == f"{address}/explore?group_by=model"
        expect(form.locator("[name=name]")).to_have_value("   ")
        form.locator("[name=name]").fill("by model")
        form.locator("button").click()
        expect(page.locator(".said-done")).to_contain_text("Saved")
        expect(page.locator(".lines.saved")).to_contain_text("by model")


def test_a_refused_filter_says_why_where_the_calls_would_be(browser: Browser, address: str) -> None:
    """The page with its filters stays; a page that is opened so leads to one without them."""
    with visitor(browser, address, refusals=True) as page:
        page.goto(f"{address}/records")
        page.locator("[name=score]").fill("helpful<<1")
        page.locator("[name=score]").press("Enter")
        expect(page.locator("#results")).to_contain_text("is no number")
        expect(page.locator("[name=score]")).to_have_value("helpful<<1")
        page.goto(f"{address}/records?score=helpful<<1")
        page.click("text=Start over")
        page.wait_for_url(f"{address}/records")
        page.goto(f"{address}/records?text=nobody-at-all")
        page.click("text=these words in what was said")
        page.wait_for_url(re.compile("search=nobody-at-all"))


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_documents_fit_and_can_be_copied(browser: Browser, address: str, size: tuple[int, int]) -> None:
    """None is wider than its page, tables stand within it, texts can be read; `/` looks for words in them,
    and Docs in the head of a page leads to its section."""
    may = ["clipboard-read", "clipboard-write"]
    with visitor(browser, address, size, permissions=may, reduced_motion="reduce") as page:
        for name in sources():
            page.goto(f"{address}/docs/{name}")
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], (name, wide)
            tables = page.locator(".doc .scroll").evaluate_all(
                "all => all.filter(e => e.scrollWidth > e.clientWidth).length"
            )
            assert tables == 0, name
        page.goto(f"{address}/governance/keys")
        page.click(".help")
        page.wait_for_url(f"{address}/docs/how-to#keys-limits-and-budgets")
        heading = page.locator("#keys-limits-and-budgets").bounding_box()
        assert heading is not None
        assert 0 < heading["y"] < 200
        page.keyboard.press("/")
        page.keyboard.type("retention")
        page.keyboard.press("Enter")
        page.click("text=Keep only what you need")
        page.click("#keep-only-what-you-need ~ .command .copy")
        assert "bodies_days = 30" in page.evaluate("navigator.clipboard.readText()")
        for path in ("/docs", "/docs/configuration", "/docs?text=budget", "/docs?text=xyzzy"):
            page.goto(address + path)
            assert pale(page) == [], path
