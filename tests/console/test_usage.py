"""What was used, in the admin API, on the page Explore and from a shell alike."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import msgspec
import pytest

from airboss import console
from airboss.console.export import Table, as_csv
from airboss.console.views_explore import spread
from airboss.domain.ports import ApiKey
from airboss.store import rollups
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.memory import MemoryRecordLog
from airboss.store.view_rows import SavedView
from airboss.store.views import SqlViewStore
from tests.console.looped import pressed
from tests.console.site import DAY, NOW, Site
from tests.console.test_pages import hrefs, shown
from tests.support.seed_records import fill, make_records


def ask(site: Site, **params: str) -> Any:
    """What the API answers."""
    return site.program().get("/api/v1/usage", params=params).json()


def test_usage_is_told_by_any_group(site: Site) -> None:
    """The groups add up to all calls of the time; rates leave out what was cancelled or refused."""
    (whole,) = ask(site)["rows"]
    for by in ("deployment", "model", "user", "key", "status", "release"):
        found = ask(site, group_by=by, limit="1000")
        assert found["group_by"] == [by]
        assert sum(row["requests"] for row in found["rows"]) == whole["requests"]
    assert whole["errors"] > 0
    ended = whole["requests"] - whole["cancelled"] - whole["refused"]
    assert whole["error_rate"] == pytest.approx(whole["errors"] / ended)
    pairs = ask(site, group_by="deployment,model")["rows"]
    assert {len(row["group"]) for row in pairs} == {2}


def test_a_tag_without_its_word_is_told_how_to_ask(site: Site) -> None:
    """Who sends `project` in `metadata` asks for it by that name first."""
    asked = site.program().get("/api/v1/usage", params={"group_by": "project"})
    assert asked.status_code == 400
    assert "nothing is grouped by 'project'; for a tag, write tag:project; there are" in asked.text


def test_usage_stands_beside_another_time(site: Site) -> None:
    """The same groups in the time before, null where there were none; a week ago and another release too."""
    found = ask(site, group_by="deployment", range="6h", compare="previous")
    assert found["against"]["until"] == found["since"]
    assert all(each["before"]["requests"] > 0 for each in found["compared"])
    far = ask(site, group_by="deployment", range="6h", compare="week")
    assert {each["before"] for each in far["compared"]} == {None}
    digests = [row["group"][0] for row in ask(site, group_by="release")["rows"]]
    both = ask(site, release=digests[0], compare=digests[1])
    (pair,) = both["compared"]
    assert pair["now"]["requests"] != pair["before"]["requests"]


def test_a_team_is_what_its_keys_are_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the API beside another time, in a file and on the page; a key that changes teams takes its past with
    it, and only a key's calls have a list."""
    log = MemoryRecordLog()
    (one,) = make_records(1, seed=1, until=NOW)
    used = [("a", 5), ("a", 70), ("b", 6), ("c", 7), ("c", 8)]
    calls = [
        msgspec.structs.replace(one, id=f"{at}", key=key, started_at=NOW - timedelta(minutes=ago))
        for at, (key, ago) in enumerate(used)
    ]
    fill(log, calls)
    site = Site(log=log)
    teams = {"a": "web", "b": "web", "c": None, "d": "idle"}

    def keys() -> tuple[ApiKey, ...]:
        return tuple(ApiKey(name=name, sha256="", created_at=NOW, team=of) for name, of in teams.items())

    monkeypatch.setattr(site.ledger, "all_keys", lambda: (*Site().ledger.all_keys(), *keys()))

    def told(**params: str) -> list[tuple[Any, int]]:
        return [(row["group"], row["requests"]) for row in ask(site, **params)["rows"]]

    assert told(group_by="team") == [(["web"], 3), ([None], 2)]
    teams["c"] = "web"
    assert told(group_by="team") == [(["web"], 5)]
    assert told(group_by="team,key", key="a") == [(["web", "a"], 2)]
    (pair,) = ask(site, group_by="team", range="1h", compare="previous")["compared"]
    assert (pair["now"]["requests"], pair["before"]["requests"]) == (4, 1)
    file = site.program().get("/api/v1/usage", params={"group_by": "team", "format": "csv"})
    assert [(row["team"], row["requests"]) for row in csv.DictReader(io.StringIO(file.text))] == [
        ("web", "5")
    ]

    def listed(path: str) -> list[str]:
        return [each for each in hrefs(shown(site.person(), path)) if each.startswith("/records?")]

    assert "web" in shown(site.person(), "/explore?group_by=team").text
    of_keys = listed("/explore?group_by=team,key")
    assert {name for name in "abc" if any(f"key={name}" in each for each in of_keys)} == set("abc")
    assert not any("team=" in each for each in of_keys), "its key says it"
    assert any("team=web" in each for each in listed("/explore?group_by=team"))


def test_a_comparison_knows_groups_beyond_its_limit() -> None:
    """Who is not among the first at one of the two times has numbers there all the same."""
    log = MemoryRecordLog()
    (one,) = make_records(1, seed=1, until=NOW)
    calls = {"now": {"ann": 3, "bob": 1, "cem": 1}, "before": {"ann": 1, "bob": 2, "dan": 3}}
    fill(
        log,
        [
            msgspec.structs.replace(one, id=f"{time}-{user}-{n}", user=user, started_at=NOW - ago)
            for time, ago in (("now", timedelta(minutes=5)), ("before", timedelta(hours=1, minutes=5)))
            for user, many in calls[time].items()
            for n in range(many)
        ],
    )
    for by in ("user", "user,model"):
        found = ask(Site(log=log), group_by=by, range="1h", compare="previous", limit="1")
        pairs = [(each["now"], each["before"]) for each in found["compared"]]
        assert [(now and now["requests"], before and before["requests"]) for now, before in pairs] == [
            (3, 1),
            (None, 3),
        ]
    found = ask(Site(log=log), group_by="user", range="1h", compare="previous", limit="2")
    assert {(each["now"] or each["before"])["group"][0] for each in found["compared"]} == {
        "ann",
        "bob",
        "dan",
    }
    assert {each["now"]["requests"]: each["before"]["requests"] for each in found["compared"][:2]} == {
        3: 1,
        1: 2,
    }


def test_usage_over_time_has_steps(site: Site) -> None:
    """Steps, oldest first, that add up."""
    found = ask(site, range="24h", step_s="3600")
    starts = [row["start"] for row in found["rows"]]
    assert starts == sorted(starts)
    assert sum(row["requests"] for row in found["rows"]) == ask(site, range="24h")["rows"][0]["requests"]


def test_usage_is_told_by_calendar_month_and_day(site: Site) -> None:
    """In UTC, the oldest first, each group in each month that it has calls in; a file says which it is."""
    log = MemoryRecordLog()
    (one,) = make_records(1, seed=1, until=NOW)
    last = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    times = [last, last - timedelta(microseconds=1), last - timedelta(days=1), NOW - timedelta(minutes=1)]
    fill(
        log,
        [
            msgspec.structs.replace(one, id=f"r{n}", key=f"team-{n % 2}", started_at=at)
            for n, at in enumerate(times)
        ],
    )
    site = Site(log=log)
    before = (last - timedelta(days=1)).replace(day=1)
    asked = {"group_by": "key", "since": "70d"}
    rows = ask(site, **asked, per="month")["rows"]
    told = [(row["start"][:10], row["group"][0], row["requests"]) for row in rows]
    assert sorted(told) == sorted(
        [
            (f"{before:%Y-%m-%d}", "team-0", 1),
            (f"{before:%Y-%m-%d}", "team-1", 1),
            (f"{last:%Y-%m-%d}", "team-0", 1),
            (f"{last:%Y-%m-%d}", "team-1", 1),
        ]
    )
    assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)
    text = site.program().get("/api/v1/usage", params={**asked, "per": "month", "format": "csv"}).text
    read = list(csv.DictReader(io.StringIO(text)))
    assert [(row["start"][:10], row["key"], int(row["requests"])) for row in read] == told
    days = ask(site, since="70d", per="day")["rows"]
    assert {row["start"][:10] for row in days} == {f"{at:%Y-%m-%d}" for at in times}


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"per": "year"}, "per"),
        ({"per": "day", "step_s": "60"}, "per"),
        ({"per": "month", "compare": "week"}, "compare"),
        ({"group_by": "user,key,model"}, "group_by"),
        ({"metric": "luck"}, "metric"),
        ({"compare": "yesterday"}, "compare"),
        ({"compare": "week", "step_s": "60"}, "compare"),
        ({"step_s": "0"}, "step_s"),
        ({"tag": "no sign"}, "tag"),
        ({"format": "xls"}, "format"),
        ({"sort": "slowest"}, "sort"),
        ({"limit": "0"}, "limit"),
    ],
)
def test_what_cannot_be_asked_is_refused(site: Site, params: dict[str, str], param: str) -> None:
    """With the parameter and what would be right."""
    answer = site.program().get("/api/v1/usage", params=params)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_file_for_a_spreadsheet_has_what_is_measured() -> None:
    """Times to the microsecond; of sums and shares nothing that only binary numbers have."""
    names = ("latency_p95_ms", "before_ttft_p50_ms", "cost_usd", "error_rate")
    columns: dict[str, type] = dict.fromkeys(names, float)
    row = {"latency_p95_ms": 3.6719999999999997, "before_ttft_p50_ms": 8.1234567, "cost_usd": 0.1 + 0.2}
    found = as_csv(Table(columns=columns, rows=[row | {"error_rate": None}, dict.fromkeys(columns, 1e-7)]))
    assert found.decode().splitlines()[1:] == ["3.672,8.123,0.3,", "0.0,0.0,1e-07,1e-07"]


def test_usage_comes_as_files(site: Site, tmp_path: Path) -> None:
    """CSV with a head and Parquet that DuckDB reads: the same rows as JSON."""
    rows = ask(site, group_by="deployment")["rows"]
    answer = site.program().get("/api/v1/usage", params={"group_by": "deployment", "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert "usage.csv" in answer.headers["content-disposition"]
    read = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["deployment"], int(row["requests"])) for row in read] == [
        (row["group"][0], row["requests"]) for row in rows
    ]
    path = tmp_path / "x.parquet"
    path.write_bytes(
        site.program().get("/api/v1/usage", params={"group_by": "deployment", "format": "parquet"}).content
    )
    with duckdb.connect() as connection:
        found = connection.execute(f"select deployment, requests, latency_p95_ms from '{path}'").fetchall()
    assert [(a, b, c) for a, b, c in found] == [
        (row["group"][0], row["requests"], row["latency_p95_ms"]) for row in rows
    ]


def test_files_have_the_same_columns_whatever_is_in_them(site: Site, tmp_path: Path) -> None:
    """A time without calls, and numbers that nobody measured: files of several days are read together."""
    empty = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}
    asked = {"group_by": "model", "compare": "previous"}
    heads = []
    for name, period in (("full", {}), ("empty", empty)):
        csv_of = site.program().get("/api/v1/usage", params={**asked, **period, "format": "csv"}).text
        heads.append(csv_of.splitlines()[0])
        path = tmp_path / f"{name}.parquet"
        got = site.program().get("/api/v1/usage", params={**asked, **period, "format": "parquet"})
        path.write_bytes(got.content)
    assert heads[0] == heads[1]
    assert heads[0].startswith("model,requests,errors")
    with duckdb.connect() as connection:
        kinds = [
            connection.execute(f"describe select * from '{tmp_path}/{name}.parquet'").fetchall()
            for name in ("full", "empty")
        ]
    assert kinds[0] == kinds[1]
    assert {row[0]: row[1] for row in kinds[1]}["before_ttft_p95_ms"] == "DOUBLE"


def test_a_formula_in_a_name_stays_text() -> None:
    """A user called like a formula is not run by a spreadsheet."""
    (one,) = make_records(1, seed=1, until=NOW)
    log = MemoryRecordLog()
    fill(log, [msgspec.structs.replace(one, user="=HYPERLINK(1)")])
    site = Site(log=log)
    answer = site.program().get("/api/v1/usage", params={"group_by": "user", "format": "csv"})
    assert "'=HYPERLINK(1)" in answer.text


def test_a_rate_of_few_says_of_how_many() -> None:
    """Of those that it was made of: neither cancelled nor refused."""
    ends = ("ok", "error", "refused", "cancelled", "ok")
    made = [
        msgspec.structs.replace(each, status=status, deployment="support")
        for each, status in zip(make_records(5, seed=4, until=NOW, span_s=3600), ends, strict=True)
    ]
    log = MemoryRecordLog()
    fill(log, made)
    page = shown(Site(log=log).person(), "/explore?range=6h")
    assert "33.33 of 3" in " ".join(page.text.split())


def test_the_page_shows_what_the_api_says(site: Site) -> None:
    """Rows lead to their calls; what changed is marked; the shell's words are there."""
    page = shown(site.person(), "/explore?group_by=model&compare=previous&range=6h")
    rows = ask(site, group_by="model", range="6h")["rows"]
    for row in rows:
        assert row["group"][0] in page.text
    links = hrefs(page)
    assert any(each.startswith("/records?model=") and "sort=slowest" in each for each in links)
    assert "airboss records --by 'model' --compare 'previous' --since '6h'" in page.text
    for link in {each for each in links if each.startswith(("/records?", "/explore?"))}:
        assert site.person().get(link.replace("&amp;", "&")).status_code == 200, link
    assert shown(site.person(), "/explore?group_by=user").text.startswith("Explore")
    assert shown(site.person(), "/explore?since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z").text.count(
        "Nothing was used"
    )


@pytest.mark.parametrize("by", [",", " , ", " "])
def test_a_page_by_no_name_is_by_deployment(site: Site, by: str) -> None:
    """Commas and blanks name no group: the page is that of its address without any."""
    page = shown(site.person(), f"/explore?{urlencode({'group_by': by})}")
    assert "airboss records --by 'deployment'" in page.text


def test_lines_of_a_few_groups_are_told_apart() -> None:
    """The hues of up to six are 20 degrees apart at least in the style sheet; no two of 24 are one."""
    style = (Path(console.__file__).parent / "static" / "console.css").read_text()
    angle = {
        int(n): float(at)
        for n, at in re.findall(r"\.r(\d+) \{ --hue: light-dark\(oklch\(\S+ \S+ (\d+)\)", style)
    }
    for count in range(2, 7):
        names = [f"user-{at}" for at in range(count)]
        found = [angle[spread(names)(name)] for name in names]
        assert min(abs(a - b) for a, b in combinations(found, 2)) >= 20, found
    many = [f"user-{at}" for at in range(24)]
    assert len({spread(many)(name) for name in many}) == 24


def test_what_is_empty_has_a_name_and_no_link_to_all_calls() -> None:
    """A call that a span told of has no release: no filter says that. A tag may be empty, and is found."""
    first, second = make_records(2, seed=1, until=NOW)
    log = MemoryRecordLog()
    fill(
        log,
        [
            msgspec.structs.replace(first, release="", tags={"team": ""}),
            msgspec.structs.replace(second, tags={"team": "search"}),
        ],
    )
    site = Site(log=log)
    page = shown(site.person(), "/explore?group_by=release,model")
    assert "(empty)" in page.text
    assert f"{second.release[:8]} · {second.model}" in page.text
    assert all("release=&" not in each and not each.endswith("release=") for each in hrefs(page))
    links = [each for each in hrefs(page) if each.startswith("/records?")]
    of_rows = [each for each in links if "sort=" not in each and "status=" not in each]
    assert of_rows
    assert all(second.release in each for each in of_rows)
    tagged = hrefs(shown(site.person(), "/explore?group_by=tag:team"))
    assert any("tag=team%3D&" in each for each in tagged)
    assert site.program().get("/api/v1/records?tag=team%3D").json()["records"][0]["id"] == first.id


def test_a_number_of_tags_leads_to_its_calls_or_nowhere() -> None:
    """A name may have `=` in it; of two tags, or one beside that asked for, no filter tells."""
    first, second = make_records(2, seed=1, until=NOW)
    log = MemoryRecordLog()
    fill(
        log,
        [
            msgspec.structs.replace(first, tags={"a=b": "c=d", "team": "x"}),
            msgspec.structs.replace(second, tags={"a": "b=c=d", "team": "x"}),
        ],
    )
    site = Site(log=log)

    def led(path: str) -> list[str]:
        links = [each for each in hrefs(shown(site.person(), path)) if each.startswith("/records?")]
        return [each for each in links if "tag=" in each and "sort=" not in each and "status=" not in each]

    for name, of in (("a%3Db", first), ("a", second)):
        (link,) = set(led(f"/explore?group_by=tag:{name}"))
        shown_there = " ".join(hrefs(shown(site.person(), link)))
        assert [each for each in (first.id, second.id) if each in shown_there] == [of.id]
    assert led("/explore?group_by=tag:a,tag:team") == []
    assert len(led("/explore?group_by=model&tag=team%3Dx")) >= 1
    assert led("/explore?group_by=tag:a&tag=team%3Dx") == []


def test_what_is_read_off_histograms_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantiles of many calls are approximate; the API and the pages say so. Few are exact."""
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    fill(log, make_records(300, seed=1, until=NOW))
    site = Site(log=log)
    for few, marked in ((10**6, False), (-1, True)):
        monkeypatch.setattr(rollups, "FEW", few)
        assert ask(site)["rows"][0]["approximate"] is marked
        for path in ("/", "/explore"):
            assert ("\u2248" in site.person().get(path).text) is marked
    log.close()


def test_a_view_is_saved_found_and_deleted(site: Site) -> None:
    """It holds the page and its query; only pages of ours can be saved; both writes are noted."""
    program = site.program()
    kept = program.post("/api/v1/views", json={"name": "by key", "url": "/explore?group_by=key&range=7d"})
    assert kept.json()["query"] == {"group_by": "key", "range": "7d"}
    assert [each["name"] for each in program.get("/api/v1/views").json()["views"]] == ["by key"]
    assert "/explore?group_by=key&range=7d" in hrefs(shown(site.person(), "/explore"))
    for wrong in ("//evil.example", "https://evil.example/explore", "/system", "javascript:alert(1)"):
        assert program.post("/api/v1/views", json={"name": "x", "url": wrong}).status_code == 400
    for lacking in ("/explore?group_bye=key", "/?status=error", "/records?metric=errors"):
        refused = program.post("/api/v1/views", json={"name": "x", "url": lacking})
        assert refused.status_code == 400
        assert "unknown query parameter" in refused.json()["error"]["message"]
    for name in (" ", ".", "..", "costs/"):
        assert program.post("/api/v1/views", json={"name": name, "url": "/explore"}).status_code == 400
    assert program.post("/api/v1/views/by%20key/delete", json={}).status_code == 200
    assert program.post("/api/v1/views/by%20key/delete", json={}).status_code == 404
    assert program.post("/api/v1/views", json={"name": "cost/day", "url": "/explore"}).status_code == 200
    assert program.post("/api/v1/views/cost%2Fday/delete", json={}).status_code == 200
    noted = [action for action, *_ in site.audit.entries if action.startswith("view")]
    assert noted == 2 * ["view.save", "view.delete"]


@pytest.mark.parametrize("path", ["/?range=6h", "/records?status=error", "/explore?group_by=user"])
def test_a_view_is_saved_from_where_it_is_seen(site: Site, path: str) -> None:
    """Overview, records and explore have the form and lead to what was saved."""
    person = site.person()
    page = shown(person, path)
    assert page.values("action").count("/explore/save") == 1
    assert path in page.values("value")
    done = pressed(person, "/explore/save", name="mine", url=path, back=path)
    assert done.status_code in {200, 303}
    for each in ("/", "/records", "/explore"):
        assert path in hrefs(shown(person, each))


def test_views_are_kept_in_the_ledger(tmp_path: Path) -> None:
    """They outlive the process; one of the same name takes the other's place."""
    store = SqlViewStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    view = SavedView(name="a", path="/explore", query={"x": "1"}, by="me", at=NOW)
    store.put_view(view)
    store.put_view(SavedView(name="a", path="/records", query={}, by="me", at=NOW + timedelta(hours=1)))
    store.close()
    again = SqlViewStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert [each.path for each in again.views()] == ["/records"]
    assert (again.drop_view("a"), again.drop_view("a")) == (True, False)
    for name, query in (("of ann", {"user": "ann", "status": "error"}), ("of all", {"user": "anna"})):
        again.put_view(SavedView(name=name, path="/records", query=query, by="me", at=NOW))
    assert (again.forget_user("ann"), again.forget_user("ann")) == (1, 0)
    assert [each.name for each in again.views()] == ["of all"]
    again.close()


def test_a_day_is_a_day() -> None:
    """The sample is as large as these tests assume."""
    assert DAY > 1_000
