"""Traces in the console and the admin API: trees, pages of them, and one of 10,000 spans."""

from __future__ import annotations

import random
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.console.trace_tree import Tree
from airboss.domain.ports import JournalMove
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.memory import MemoryRecordLog
from airboss.store.span_rows import Span, TracedLog, TraceSpan
from tests.console.site import NOW, Site
from tests.store.samples import call_id, closed_json, opened_json
from tests.store.spans import TRACE, llm, span

SECONDS_UNDER_LOAD = 3.0
"""A second, with other tests beside it on the same cores."""
BEGAN = NOW - timedelta(minutes=10)


def at(number: int, parent: int | None = None, **fields: Any) -> Span:
    """Span `number` of a trace that began ten minutes ago, a millisecond after the one before."""
    make = llm if fields.pop("model_call", False) else span
    return make(number, parent, started_at=BEGAN + timedelta(milliseconds=number), **fields)


def log_of(*spans: Span, **more: Any) -> MemoryRecordLog:
    """A record log that has these spans."""
    log = MemoryRecordLog()
    take(log, *spans, **more)
    return log


def take(log: TracedLog, *spans: Span, **more: Any) -> None:
    """Have a record log take these spans."""
    encoded = tuple(map(msgspec.json.encode, spans))
    log.apply(JournalMove(segment="w/1", start=0, end=1, spans=encoded, moved_at=BEGAN, **more))
    log.settle_calls(NOW, limit=1_000)


def tree(*spans: Span) -> Tree:
    """Their tree."""
    names = TraceSpan.__struct_fields__
    return Tree([TraceSpan(**{name: getattr(each, name) for name in names}) for each in spans])


def numbers(found: Tree, **asked: Any) -> list[tuple[int, int]]:
    """A walk over all of a tree, as numbers and depths."""
    rows, _ = found.page(asked.get("under"), asked.get("after"), asked.get("limit", 10_000))
    return [(int(row.span.span_id, 16), row.depth) for row in rows]


def test_a_tree_is_walked_in_order() -> None:
    """Each span before those below it, in order of time; pages join without a gap."""
    found = tree(at(1), at(2, 1), at(3, 2), at(4, 1), at(5), at(6, 99))
    whole = [(1, 0), (2, 1), (3, 2), (4, 1), (5, 0), (6, 0)]
    assert numbers(found) == whole
    for size in range(1, 7):
        walked: list[tuple[int, int]] = []
        after = None
        more = True
        while more:
            rows, more = found.page(None, after, size)
            walked += [(int(row.span.span_id, 16), row.depth) for row in rows]
            after = rows[-1].span.id
        assert walked == whole, size
    assert numbers(found, under=call_id(1)) == [(2, 0), (3, 1), (4, 0)]
    (first, *_), _ = found.page(None, None, 10)
    assert (first.children, first.below) == (2, 3)


def test_every_span_is_in_the_tree_once() -> None:
    """Whatever parents are said: circles, spans that are their own parent, ids that come twice."""
    for seed in range(300):
        rng = random.Random(seed)
        count = rng.randrange(1, 30)
        spans = [
            msgspec.structs.replace(
                at(number, rng.randrange(count) if rng.random() < 0.9 else None),
                span_id=f"{number if rng.random() < 0.9 else rng.randrange(count):016x}",
            )
            for number in range(count)
        ]
        found = tree(*spans)
        rows, _ = found.page(None, None, 1_000)
        assert sorted(row.span.id for row in rows) == sorted(each.id for each in spans), seed
        assert sum(row.below + 1 for row in rows if row.depth == 0) == count, seed
        shown, shut = found.opened(found.roots, 10)
        assert len(shown) <= max(10, len(found.roots)), seed
        assert shut <= {row.span.id for row in shown}, seed


def test_circles_are_cut_quickly() -> None:
    """Ten thousand circles of two, and a chain of twenty thousand, in a second or so."""
    pairs = [at(number, number ^ 1) for number in range(20_000)]
    chain = [at(number, number - 1) for number in range(20_000)]
    began = time.process_time()
    assert len(tree(*pairs).roots) == 10_000
    assert len(tree(*chain).opened(tree(*chain).roots, 200)[0]) == 200
    assert time.process_time() - began < 8.0


@pytest.fixture
def traced() -> Site:
    """A console over one trace: an agent that asks a model beside the gateway, one through it, and a tool."""
    log = log_of(
        at(1, name="plan <b>trip</b>", kind="agent", user="ann", session="s-1"),
        at(2, 1, model_call=True, name="chat gpt-4o", duration_ms=40.0),
        at(3, 1, name="weather", kind="tool", status="error", message="no <i>net</i>"),
        at(4, 1, model_call=True, duration_ms=300.0),
        opened={call_id(5): opened_json(5, trace_id=TRACE, trace_parent=f"{4:016x}-01", started_at=BEGAN)},
        closed={call_id(5): closed_json(5)},
    )
    return Site(log=log)


def get(site: Site, path: str, status: int = 200) -> Any:
    """A JSON answer of the admin API."""
    answer = site.program().get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_api_lists_and_shows_traces(traced: Site) -> None:
    """A list with what each trace has; its tree with the record of each model call; one span whole."""
    (listed,) = get(traced, "/api/v1/traces")["traces"]
    assert (listed["trace_id"], listed["spans"], listed["errors"]) == (TRACE, 5, 1)
    assert (listed["user"], listed["session"]) == ("ann", "s-1")
    found = get(traced, f"/api/v1/traces/{TRACE}")
    for each in (listed, found):  # of two calls: the client's side of the gateway's is none
        used = (each["input_tokens"], each["output_tokens"], each["cost_usd"], each["cost_unknown"])
        assert used == (20, 16, 0.000246, 0)
    rows = {row["span_id"]: row for row in found["rows"]}
    assert (found["spans"], found["next"]) == (5, None)
    assert rows[f"{2:016x}"]["record"] == call_id(2)
    assert rows[f"{4:016x}"]["record"] == call_id(5), "the gateway has recorded this call"
    assert rows[call_id(5).replace("-", "")[16:]]["parent_id"] == f"{4:016x}"
    assert rows[f"{3:016x}"]["record"] is None
    one = get(traced, f"/api/v1/traces/{TRACE}/spans/{3:016x}")
    assert (one["span"]["message"], one["span"]["attributes"]) == ("no <i>net</i>", {"a": 1})
    page = get(traced, f"/api/v1/traces/{TRACE}?limit=2")
    rest = get(traced, f"/api/v1/traces/{TRACE}?limit=50&after={page['next']}")
    assert [row["id"] for row in page["rows"] + rest["rows"]] == [row["id"] for row in found["rows"]]
    below = get(traced, f"/api/v1/traces/{TRACE}?under={call_id(4)}")
    assert [row["id"] for row in below["rows"]] == [call_id(5)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/traces?status=odd", 400),
        ("/api/v1/traces?before=x", 400),
        ("/api/v1/traces?before=2026-11-24T00:00:00Z_xyz", 400),
        ("/api/v1/traces?limit=0", 400),
        ("/api/v1/traces?sevrice=x", 400),
        ("/api/v1/traces/xyz", 404),
        ("/api/v1/traces/" + "ab" * 16, 404),
        (f"/api/v1/traces/{TRACE}?under=x", 404),
        (f"/api/v1/traces/{TRACE}?after=x", 404),
        (f"/api/v1/traces/{TRACE}/spans/x", 404),
        (f"/api/v1/traces/{TRACE}/spans/{'f' * 16}", 404),
    ],
)
def test_wrong_questions_are_refused(traced: Site, path: str, status: int) -> None:
    """In the house's shape, naming what is wrong."""
    assert set(get(traced, path, status)["error"]) == {"message", "type", "code", "param"}


def test_the_list_is_paged(empty: Site) -> None:
    """Each page leads to the next until there is none."""
    spans = [at(number, trace_id=f"{number + 1:032x}") for number in range(7)]
    site = Site(log=log_of(*spans))
    seen: list[int] = []
    path = "/api/v1/traces?limit=3"
    while path:
        page = get(site, path)
        seen += [int(each["trace_id"], 16) for each in page["traces"]]
        path = f"/api/v1/traces?limit=3&before={page['next']}" if page["next"] else ""
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert get(empty, "/api/v1/traces") == {"traces": [], "next": None}


def test_the_pages_show_it(traced: Site, empty: Site) -> None:
    """The list leads to the waterfall, that to records and spans; what spans say is text."""
    pages = traced.person()
    listed = pages.get("/traces").text
    assert f'href="/traces/{TRACE}"' in listed
    assert '<span title="20 in, 16 out">36</span>' in listed
    assert "$0.00025" in listed
    page = pages.get(f"/traces/{TRACE}").text
    assert "20 in, 16 out" in page
    assert "$0.00025" in page
    for text in (listed, page):
        assert "<b>trip</b>" not in text
    assert f'href="/records/{call_id(5)}"' in page
    assert page.count('class="fall-row') == 6
    one = pages.get(f"/traces/{TRACE}?span={call_id(3)}").text
    assert "no &lt;i&gt;net" in one
    record = pages.get(f"/records/{call_id(5)}").text
    assert f'href="/traces/{TRACE}"' in record
    assert "passed through no gateway" not in record
    beside = pages.get(f"/records/{call_id(2)}").text
    assert "passed through no gateway" in beside
    assert "before upstream" not in beside
    assert pages.get(f"/traces/{TRACE}?at=x").status_code == 404
    assert pages.get("/traces/x").status_code == 404
    empty_pages = empty.person()
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in empty_pages.get("/traces").text


def test_names_as_long_as_callers_may_write_them_fill_no_page() -> None:
    """A user has up to 16,384 characters, a service up to 8,192: the list and the card of a trace show their
    beginnings, and no character that turns what follows around."""
    site = Site(log=log_of(at(1, user="u" * 16_384, service="s" * 8_192)))
    listed = site.person().get("/traces").text
    assert "u" * 40 in listed
    assert "u" * 301 not in listed
    assert "s" * 301 not in listed
    site = Site(log=log_of(at(1, service="s" * 8_192), at(2, 1, service="a\u202eb")))
    (note,) = re.findall(r'<p class="note">(.*sss.*)</p>', site.person().get(f"/traces/{TRACE}").text)
    assert note == 'a<span class="ctl">U+202E</span>b, ' + "s" * 39 + "…"


def test_a_trace_of_10_000_spans_opens_in_a_second(tmp_path: Path) -> None:
    """The page and the API, from DuckDB's file to the last byte (0.13 s on a machine that does nothing else,
    `benchmarks.traces`); what is not shown is a link away."""
    spans = [
        at(number, (number - 1) // 5 if number else None, model_call=number % 10 == 0)
        for number in range(10_000)
    ]
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    take(log, *spans)
    site = Site(log=log)
    pages = site.person()
    pages.get(f"/traces/{TRACE}")
    began = time.monotonic()
    page = pages.get(f"/traces/{TRACE}")
    took = time.monotonic() - began
    assert page.status_code == 200
    assert page.text.count('class="fall-row') <= 201
    assert len(page.content) < 400_000
    assert took < SECONDS_UNDER_LOAD, f"{took:.2f} s"
    whole = pages.get(f"/traces/{TRACE}?span={call_id(1)}").text
    assert f'<dt>Below it</dt><dd><a href="/traces/{TRACE}?at={call_id(1)}">' in whole
    deeper = pages.get(f"/traces/{TRACE}?at={call_id(40)}").text
    assert f"at={call_id(201)}" in deeper or "below" in deeper or "span 201" in deeper
    began = time.monotonic()
    assert len(get(site, f"/api/v1/traces/{TRACE}?limit=5000")["rows"]) == 5_000
    assert time.monotonic() - began < SECONDS_UNDER_LOAD
    log.close()


def test_many_spans_on_one_level_are_paged() -> None:
    """A span with 1,000 children shows them 200 at a time; the whole trace begins with the first of them."""
    site = Site(log=log_of(at(0), *(at(number, 0) for number in range(1, 1_001))))
    pages = site.person()
    assert pages.get(f"/traces/{TRACE}").text.count('class="fall-row') == 201
    seen: set[str] = set()
    path = f"/traces/{TRACE}?at={call_id(0)}"
    for _ in range(10):
        text = pages.get(path).text
        seen |= {call_id(number) for number in range(1, 1_001) if f"span={call_id(number)}#" in text}
        if "beside these" not in text:
            break
        found = text.find("&amp;after=", text.find("beside these") - 200)
        after = text[found + 11 : found + 11 + 36]
        path = f"/traces/{TRACE}?at={call_id(0)}&after={after}"
    assert len(seen) == 1_000
