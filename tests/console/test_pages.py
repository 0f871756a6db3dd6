"""The pages as HTML: what they say, that their links work, and that nothing in a record can act."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.console import pages_table
from airboss.console.render import STATIC
from airboss.console.views import RAW_MAX, ROWS
from airboss.domain.ports import RecordFilter
from airboss.domain.record import InferenceRecord, PolicyFinding
from airboss.store.memory import MemoryRecordLog
from tests.console.site import API_KEY, NOW, Ledger, Site, put, sample
from tests.console.test_api import One
from tests.support.seed_records import seed_plan

FOUND = (PolicyFinding(kind="email", action="mask", count=2, where="request.messages.content"),)
OWN_ATTRIBUTES = {
    "hx-get",
    "hx-trigger",
    "hx-select",
    "hx-select-oob",
    "hx-target",
    "hx-swap",
    "hx-sync",
    "hx-morph-skip",
    "hx-replace-url",
}


class Page(HTMLParser):
    """What stands in a page: tags with attributes, ids, links, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.words.append(data)

    def values(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]

    @property
    def text(self) -> str:
        """All text, runs of blanks as one."""
        return " ".join("".join(self.words).split())


def shown(client: TestClient, path: str) -> Page:
    """A page that came."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def hrefs(page: Page) -> list[str]:
    """The links of a page."""
    return [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]


def record_paths(client: TestClient, query: str = "") -> list[str]:
    """The records that the table lists, by path."""
    found = [
        href
        for href in hrefs(shown(client, f"/records?{query}"))
        if re.fullmatch(r"/records/[0-9a-f-]{36}", href)
    ]
    assert found
    return found


def test_no_link_is_dead(site: Site) -> None:
    """Every link, form and file of every page leads somewhere."""
    person = site.person()
    paths = ["/", "/records", "/system", "/records?status=error&range=7d", "/?deployment=support&range=6h"]
    paths += record_paths(person, "status=ok")[:2] + record_paths(person, "status=error")[:1]
    seen: set[str] = set()
    for path in paths:
        page = shown(person, path)
        targets = hrefs(page) + page.values("src") + page.values("action") + page.values("hx-get")
        targets += [str(attributes["href"]) for tag, attributes in page.tags if tag == "link"]
        for target in set(targets) - seen:
            seen.add(target)
            if target.startswith("#"):
                assert target[1:] in page.values("id"), (path, target)
                continue
            assert target.startswith("/"), (path, target)
            acts = target in ("/theme", "/logout", "/explore/save") or target.endswith(("/score", "/dataset"))
            expected = 405 if acts else 200
            assert person.get(target).status_code == expected, (path, target)
    assert len(seen) > 40


def test_pages_are_whole_html(site: Site) -> None:
    """One h1, a language, labelled fields, unique ids; no inline script, style or handler."""
    person = site.person()
    for path in ("/", "/records", "/system", *record_paths(person)[:1], "/login"):
        page = shown(person, path)
        assert [tag for tag, _ in page.tags].count("h1") == 1
        assert dict(page.tags)["html"].get("lang") == "en"
        assert len(page.values("id")) == len(set(page.values("id"))), path
        for tag, attributes in page.tags:
            assert "style" not in attributes, (path, tag)
            assert not [name for name in attributes if name.startswith("on")], (path, tag)
            assert {name for name in attributes if name.startswith("hx-")} <= OWN_ATTRIBUTES
            if tag == "script":
                assert str(attributes.get("src")).startswith("/static/")
            if tag == "svg":
                assert attributes.get("aria-hidden") == "true" or path.startswith("/records/"), path


def test_the_overview_has_every_deployment_and_number(site: Site) -> None:
    """Each deployment's row: requests, errors, latency, TTFT, speed, tokens, cost, release."""
    page = shown(site.person(), "/?range=24h")
    stats = site.log.stats(NOW - timedelta(hours=24), NOW)
    for each in stats:
        assert each.deployment in page.text
        for number in (
            each.requests,
            each.latency_p50_ms,
            each.latency_p95_ms,
            each.ttft_p50_ms,
            each.output_tokens,
        ):
            assert number is None or f"{number:,.0f}" in page.text
    for words in ("Requests", "Errors", "Latency p95", "First token p95", "Output tokens", "Cost", "plan 42"):
        assert words in page.text


def test_what_is_wrong_is_said_first(site: Site) -> None:
    """The failing deployment is named with its beginning, and a link shows just those calls."""
    person = site.person()
    page = shown(person, "/?range=24h")
    assert "code-review" in page.text.split("Requests")[0]
    failed = [href for href in hrefs(page) if "status=error" in href]
    (link,) = [href for href in failed if "deployment=" in href]
    assert [href for href in failed if href != link] == ["/records?range=24h&status=error"], "of all of them"
    calls = shown(person, link)
    assert "Clear" in calls.text
    assert " match" in calls.text


def test_no_calls_is_not_zero(site: Site) -> None:
    """A time without a call says so, and points at the records there are."""
    page = shown(site.person(), "/?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z")
    assert "No calls" in page.text
    assert "There are older records" in page.text
    assert "0 %" not in page.text


def test_empty_pages_teach(empty: Site) -> None:
    """Before the first call both pages give the commands to make it, with the key's place, not the key."""
    person = empty.person()
    for path in ("/", "/records"):
        page = shown(person, path)
        assert "Make the first call" in page.text
        assert "export OPENAI_BASE_URL='http://127.0.0.1:8700/v1'" in page.text
        assert "$(cat '/home/ada/shop/.airboss/secrets/api_key')" in page.text
        assert '"model": "gpt-4o"' in page.text
        assert API_KEY not in page.text
    empty.ledger.served = None
    assert shown(person, "/").tags
    assert shown(person, "/records").tags
    assert shown(person, "/system").tags


def test_a_filter_that_finds_nothing_says_what_was_asked(site: Site) -> None:
    """The same question for a shell is offered, correctly quoted."""
    page = shown(site.person(), "/records?user=o'brien&deployment=support")
    assert "No record matches" in page.text
    assert "airboss records --deployment 'support' --user 'o'\\''brien'" in page.text


def test_pages_of_records_are_whole(site: Site) -> None:
    """Going older to the end meets every record once; going newer comes back by the same pages."""
    person, path, pages = site.person(), "/records?deployment=summarize", []
    while True:
        page = shown(person, path)
        rows = [href for href in hrefs(page) if re.fullmatch(r"/records/[0-9a-f-]{36}", href)]
        pages.append((path, rows))
        assert len(rows) <= ROWS
        older = [str(a["href"]) for tag, a in page.tags if tag == "a" and a.get("rel") == "next"]
        if not older:
            break
        path = older[0]
    seen = [row for _, rows in pages for row in rows]
    assert len(seen) == len(set(seen)) == site.log.count(RecordFilter(deployment="summarize"))
    for _, rows in reversed(pages[:-1]):
        newer = [str(a["href"]) for tag, a in page.tags if tag == "a" and a.get("rel") == "prev"]
        page = shown(person, newer[0])
        assert [href for href in hrefs(page) if re.fullmatch(r"/records/[0-9a-f-]{36}", href)] == rows
    assert not [a for tag, a in page.tags if a.get("rel") == "prev"]


def test_filters_stand_in_the_fields(site: Site) -> None:
    """What was asked stays in the form, the range included, so that the next filter narrows on."""
    page = shown(site.person(), "/records?range=6h&status=ok&user=user-01&text=a%22b&key=web")
    assert page.values("value").count("6h") == 1
    assert 'a"b' in page.values("value")
    assert "user-01" in page.values("value")
    assert {"selected": None} in [
        {k: v for k, v in a.items() if k == "selected"} for t, a in page.tags if t == "option"
    ]


def test_filters_without_a_field_are_shown_and_kept(site: Site) -> None:
    """What a link narrowed by stands beside the fields, goes on with the next filter, and comes off alone."""
    page = shown(site.person(), "/records?tag=app%3Dshop&sort=slowest&error_type=timeout&status=error")
    kept = {a["name"]: a["value"] for tag, a in page.tags if tag == "input" and a.get("form") == "filters"}
    assert {name: kept.get(name) for name in ("tag", "sort", "error_type")} == {
        "tag": "app=shop",
        "sort": "slowest",
        "error_type": "timeout",
    }
    for words in ("tag app=shop any tag", "error type timeout any error", "sort slowest newest first"):
        assert words in page.text
    assert "/records?sort=slowest&error_type=timeout&status=error" in hrefs(page)


def test_a_record_leads_to_what_it_tells_of(site: Site) -> None:
    """Its deployment and release have pages; its model and each of its tags have other calls."""
    person = site.person()
    path = record_paths(person, "tag=app%3Dshop")[0]
    found = site.log.records(RecordFilter(id=path.rpartition("/")[2]), limit=1, bodies=False)[0]
    links = hrefs(shown(person, path))
    for href in (
        f"/deployments/{found.deployment}",
        f"/releases/{found.release}",
        f"/records?deployment={found.deployment}",
        f"/records?model={found.model}",
        "/records?tag=app%3Dshop",
        "/records?tag=env%3Dprod",
    ):
        assert href in links, href


def test_neighbours_lead_through_time(site: Site) -> None:
    """Older and newer are each other's way back."""
    person = site.person()
    paths = record_paths(person)
    for index in (0, 1, 17):
        links = hrefs(shown(person, paths[index]))
        assert paths[index + 1] in links
        assert index == 0 or paths[index - 1] in links


def test_a_record_has_all_its_parts(site: Site) -> None:
    """Conversation, times, attempts, tokens, cost, release, raw JSON, curl."""
    log = MemoryRecordLog()
    put(log, sample(id="one", started_at=NOW, session="s-1", tags={"app": "shop"}, policy=FOUND))
    page = shown(Site(log=log).person(), "/records/one")
    record = log.records(RecordFilter(id="one"), limit=1, bodies=True)[0]
    text = page.text
    for message in record.request["messages"]:
        if message["role"] in ("system", "user"):
            assert message["content"].split("\n")[0][:60].strip("* ") in text
    for words in (
        record.release,
        record.release[:8],
        record.model,
        record.provider,
        "plan 42",
        "s-1",
        "shop",
        "2 email",
        "request.messages.content",
        "Timing",
        "Attempts",
        "curl -sS",
        "Raw JSON",
        '"finish_reason"',
    ):
        assert words in text, words


def test_an_interrupted_call_is_explained() -> None:
    """No answer, no attempts, no tokens: each is said, none is zero."""
    log = MemoryRecordLog()
    unknown = dict.fromkeys(
        ("input_tokens", "output_tokens", "cost_usd", "ttft_ms", "finish_reason", "response")
    )
    lost = sample(id="lost", status="error", error_type="interrupted", attempts=(), **unknown)
    put(log, lost)
    text = shown(Site(log=log).person(), "/records/lost").text
    assert "The process that served this call died" in text
    assert "interrupted" in text
    assert "unknown" in text


def test_bodies_that_were_not_kept_are_said() -> None:
    """With bodies off the page says why there is no conversation, and offers no curl."""
    log = MemoryRecordLog()
    put(log, sample(id="bare", request=None, response=None))
    person = Site(log=log).person()
    text = shown(person, "/records/bare").text
    assert 'bodies = "off"' in text
    assert "curl" not in text
    assert person.get("/records/bare/request.json").status_code == 404


HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></div><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    "user\u202egnp.exe\u2066",
    "\x00\x07\x1b[31m\x9f",
    "\ud800 lone \udfff",
    "<!-- --><style>*{display:none}</style>",
    "&lt;b&gt; &amp;",
    "' OR 1=1 --",
]


def hostile_record(word: str) -> InferenceRecord:
    """A record with the word wherever a client or a provider can put one."""
    body: dict[str, Any] = {
        "model": word,
        word: word,
        "messages": [
            {"role": word, "content": word, "name": word},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": word}}, {"type": word, "text": word}],
            },
            {"role": "user", "content": f"```{word}\n{word}\n```\n`{word}` **{word}**"},
            {"role": "assistant", "tool_calls": [{"function": {"name": word, "arguments": word}}]},
            {"role": "tool", "tool_call_id": word, "content": "{" + word},
        ],
    }
    answer = {
        "choices": [{"message": {"role": word, "content": word, "reasoning_content": word, "refusal": word}}]
    }
    names = ("user", "session", "key", "deployment", "model", "provider", "error_type", "finish_reason")
    everywhere = dict.fromkeys((*names, "trace_id", "cache", "arm", "release"), word)
    found = (PolicyFinding(kind=word, action=word, count=1, where=word),)
    return sample(id="hostile", tags={word: word}, policy=found, request=body, response=answer, **everywhere)


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_content_is_inert(empty: Site, word: str) -> None:
    """No tag, attribute, link, control or reordering comes out of what a record holds, on any page."""
    empty.log = One(hostile_record(word))
    person = empty.person()
    for path in ("/records/hostile", "/records", f"/records?{'user=x'}"):
        answer = person.get(path)
        assert answer.status_code == 200, answer.text
        page = Page(answer.text)
        allowed = {"script", "style", "img", "iframe", "object", "svg", "a", "form", "input", "link", "meta"}
        calm = Page(calm_page(empty, path))
        for tag in allowed:
            count = [each for each, _ in page.tags].count(tag)
            assert count == [each for each, _ in calm.tags].count(tag), (path, tag)
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            assert str(attributes.get("href", "/")).startswith(("/", "#")), (tag, attributes)
            assert "srcset" not in attributes
        # A field keeps what was typed into it, exactly.
        elsewhere = re.sub(r'value="[^"]*"', "", answer.text)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", elsewhere)


def calm_page(site: Site, path: str) -> str:
    """The same page with a harmless word in the same places."""
    log, site.log = site.log, One(hostile_record("calm"))
    try:
        return site.person().get(path).text
    finally:
        site.log = log


def test_large_bodies_are_bounded(empty: Site) -> None:
    """A megabyte in a record makes a bounded page; all of it is one link away, and curl reads a file."""
    empty.log = One(
        sample(
            id="big",
            request={"model": "m", "messages": [{"role": "user", "content": "x" * 1_000_000}]},
            operation="chat",
        )
    )
    person = empty.person()
    answer = person.get("/records/big")
    assert len(answer.content) < 100_000 + RAW_MAX
    assert "980,000 more characters" in Page(answer.text).text
    assert "--data-binary @request.json" in Page(answer.text).text
    body = person.get("/records/big/request.json")
    assert body.json()["messages"][0]["content"] == "x" * 1_000_000
    assert "attachment" in body.headers["content-disposition"]


def test_times_are_in_the_visitors_zone(site: Site) -> None:
    """The browser's zone, from its cookie; UTC without one or with nonsense in it. Machines get UTC."""
    person = site.person()
    assert "Time UTC" in shown(person, "/records").text
    person.cookies.set("airboss_tz", "America/New_York")
    page = shown(person, "/records")
    assert "Time EST" in page.text
    assert all(value.endswith("Z") for value in page.values("datetime"))
    person.cookies.set("airboss_tz", "../../etc/passwd")
    assert "Time UTC" in shown(person, "/records").text


def test_dead_letters_are_listed_and_cannot_act(site: Site) -> None:
    """Each with its reason, where it lay and how it begins, which may be anything."""
    page = shown(site.person(), "/system")
    assert "Object missing required field" in page.text
    assert "gateway-0-019ac1f0a3b2/000012 at 16,384" in " ".join(page.text.split())
    assert "<script>alert(1)" in page.text  # as text


def test_the_rail_shows_what_exists(site: Site) -> None:
    """Every room that has a page, in order, the present one marked; each has a key, and no two the same."""
    page = shown(site.person(), "/system")
    rooms = [room for room in pages_table.ROOMS if room.path in {each.path for each in pages_table.PAGES}]
    listed = [
        attributes["href"]
        for tag, attributes in page.tags
        if tag == "a" and attributes.get("data-key") and attributes.get("class") not in ("bell", "bell help")
    ]
    assert listed == [room.path for room in rooms]
    assert {"/", "/deployments", "/records", "/quality", "/system"} <= set(listed)
    keys = page.values("data-key")
    assert len(keys) == len(set(keys)) == len(rooms) + 2  # alerts and docs, in the head
    assert page.values("aria-current") == ["page", "page"]  # the room and its tab


def test_own_script_is_small_and_vendored_files_have_licences() -> None:
    """Our JavaScript stays under 30 KB, nothing is remote; vendored files stand beside their licences."""
    assert (STATIC / "console.js").stat().st_size < 30_000
    vendored = {path.name for path in (STATIC / "vendor").iterdir()}
    assert {
        "htmx.min.js",
        "htmx.LICENSE.txt",
        "uplot.min.js",
        "uplot.min.css",
        "uplot.LICENSE.txt",
        "README.md",
    } == vendored
    for name in ("console.js", "console.css"):
        text = (STATIC / name).read_text()
        assert "http://" not in text
        assert "https://" not in text.replace('"https:"', "")
        assert "innerHTML" not in text


def test_the_overview_reads_no_bodies(site: Site) -> None:
    """What the first page costs does not hang on bodies: it lists records, if at all, without them."""
    asked: list[bool] = []
    real = site.log

    class Watching(One):
        """Passes on, and notes whether bodies were asked for."""

        def __getattribute__(self, name: str) -> Any:
            return getattr(real, name) if name != "records" else records

    def records(where: RecordFilter, *, limit: int, bodies: bool) -> Any:
        asked.append(bodies)
        assert limit <= 100
        return real.records(where, limit=limit, bodies=bodies)

    site.log = Watching(sample())
    shown(site.person(), "/")
    shown(site.person(), "/records")
    assert True not in asked


@pytest.mark.parametrize(
    ("age_s", "chosen"), [(60, "15m"), (2_000, "1h"), (20_000, "6h"), (80_000, "24h"), (9_000_000, "24h")]
)
def test_a_young_airboss_shows_what_it_has(age_s: float, chosen: str) -> None:
    """Unless a range is asked for: a day's chart of a first minute would be a dot at its end."""
    first = msgspec.structs.replace(seed_plan(NOW - timedelta(seconds=age_s)), number=1)
    client = Site(ledger=Ledger(first, None)).person()
    for path in ("/", "/deployments", "/explore", "/quality", "/review", "/traces"):
        asked = client.get(path)
        assert re.findall(r'aria-current="true">(\w+)</a>', asked.text) == [chosen], path
        told = client.get(path, params={"range": "7d"})
        assert re.findall(r'aria-current="true">(\w+)</a>', told.text) == ["7d"], path
